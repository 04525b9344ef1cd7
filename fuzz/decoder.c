/* The implementation of decoder.h.  It calls nothing and knows no executor. */
#include "decoder.h"

#include <string.h>

#include "decoder_rows.h"
#include "decoder_sizes.h"
#include "decoder_state.h"
#include "decoder_tables.h"

enum { BULK = 1 << 20 }; /* bytes of the largest blocks that a program has on purpose */

/* ---- the profile ---- */

static int is_dense(const uint8_t *profile, const struct decode_limits *limits)
{
    return switched(limits, DECODE_DENSE) || profile[2] & DENSE_BIT;
}

static int subject_allows(const struct decode_limits *limits, enum action action)
{
    static const uint8_t kinds[ACTIONS] = {
        OP_MALLOC, OP_FREE, OP_CALLOC, OP_REALLOC, 0, OP_WRITE, OP_FREE, OP_REALLOC,
        OP_FREE_ALL, OP_THREAD, OP_DENY, OP_FOREIGN, OP_DOUBLE_FREE, OP_INTERIOR_FREE,
        OP_FREE,
    };
    if (action == A_ALIGNED)
        return allowed(limits, OP_ALIGNED_ALLOC) || allowed(limits, OP_MEMALIGN)
            || allowed(limits, OP_POSIX_MEMALIGN);
    if (action == A_FREE_NULL && !switched(limits, DECODE_FREE_NULL))
        return 0;
    if (action == A_REALLOC_NULL && !switched(limits, DECODE_REALLOC_NULL))
        return 0;
    return allowed(limits, kinds[action])
        || (action == A_DOUBLE_FREE && allowed(limits, OP_REALLOC_FREED));
}

/* Swarm: a set bit of profile[0] switches an ordinary action off; half of the programs have rows;
 * of the disturbing ones, each takes part in a quarter of the programs, misuse in a quarter of
 * those: a promised abort ends them.  Malloc and free always take part. */
static int takes_part(const struct decode_limits *limits, const uint8_t *profile,
                      enum action action)
{
    if (action <= A_FREE)
        return 1;
    if (action == A_ROW)
        return (profile[2] & ROWS_BIT) != 0;
    if (action < A_DENY)
        return !(profile[0] >> (action - A_CALLOC) & 1);
    unsigned shift = 2 * (unsigned)(action - A_DENY);
    if (action >= A_DOUBLE_FREE && (profile[4] & 0x30) != 0x30)
        return 0;
    if (switched(limits, DECODE_RARE))
        return action >= A_DOUBLE_FREE || profile[1] >> shift & 1;
    return (profile[1] >> shift & 3) == 3;
}

static void choose_actions(struct decoder *d, const uint8_t *profile, int dense)
{
    const uint8_t *share = shares[(profile[2] & 3) + (dense ? 0 : 4)];
    uint32_t weights[ACTIONS];
    uint32_t total = 0;
    for (enum action action = 0; action < ACTIONS; action++) {
        int in = subject_allows(d->limits, action) && takes_part(d->limits, profile, action);
        weights[action] = in ? share[action] : 0;
        total += weights[action];
    }
    uint32_t from = 0, sum = 0;
    for (enum action action = 0; action < ACTIONS && total; action++) {
        sum += weights[action];
        uint32_t to = 256 * sum / total;
        memset(d->actions + from, (int)action, to - from);
        from = to;
    }
    if (!total)
        memset(d->actions, ACTIONS, sizeof d->actions);
}

/* One program in 16 has to do with large blocks too, if the heap has room for some; more would
 * take too much time. */
static int is_bulky(const uint8_t *profile, const struct decode_limits *limits)
{
    int roomy = !limits->heap_bytes || limits->heap_bytes >= 4 * BULK;
    return roomy && ((profile[3] >> 5 == 7 && profile[4] & 0x40) || switched(limits, DECODE_RARE));
}

static uint64_t store_of(const uint8_t *profile, const struct decode_limits *limits)
{
    return is_bulky(profile, limits) ? 0 : stores[profile[4] & 15];
}

static void open_decoder(struct decoder *d, const uint8_t *profile,
                         const struct decode_limits *limits)
{
    int dense = is_dense(profile, limits);
    d->limits = limits;
    d->heap_bytes = limits->heap_bytes;
    uint64_t store = store_of(profile, limits);
    if (store && (!d->heap_bytes || store < d->heap_bytes))
        d->heap_bytes = store;
    uint64_t share = dense ? 16384 : 65536;
    d->share_bytes = d->heap_bytes && d->heap_bytes < share ? d->heap_bytes : share;
    d->bulky = is_bulky(profile, limits);
    d->recurring_bytes = d->bulky ? BULK : d->share_bytes;
    d->palette = palettes[(profile[3] & 3) + (dense ? 0 : 4)];
    d->live_target = live_targets[profile[3] >> 2 & 7];
    d->live_count = d->freed_count = d->freed_since = d->names = 0;
    d->huge = !dense;
    d->row = (struct row){ .clean = profile[2] & CLEAN_BIT };
    d->last_size = 16;
    d->laid = 0;
    d->own[0] = profile[5];
    d->own[1] = profile[6] * (uint64_t)4;
    d->own[2] = profile[7] * (uint64_t)16;
    d->own[3] = d->own[0] + d->own[1] + 16;
    choose_actions(d, profile, dense);
}

/* ---- operations ---- */

/* Products that overflow, or only just do not; the larger factor goes a little further. */
static struct op huge_calloc(struct decoder *d, const uint8_t *bytes)
{
    const uint64_t *pair = d->limits->pairs[bytes[1] >> 2 & 15];
    uint64_t distance = bytes[3] & (bytes[2] & 1 ? 15 : 255);
    uint64_t factors[2] = { pair[0], pair[1] };
    factors[0] += pair[0] > UINT64_MAX - 255 ? -distance : distance;
    int turned = bytes[1] >> 6 & 1;
    uint64_t product;
    if (__builtin_mul_overflow(factors[0], factors[1], &product))
        product = UINT64_MAX;
    return made(OP_CALLOC, make(d, product), factors[turned], factors[!turned]);
}

static struct op decode_calloc(struct decoder *d, const uint8_t *bytes)
{
    if (may_be_huge(d, bytes) && bytes[1] % 4 == 3)
        return huge_calloc(d, bytes);
    uint64_t size = palette_size(d, bytes);
    uint64_t count = d->limits->counts[bytes[1] >> 5];
    if (!count) /* one byte each, or none of any size */
        return bytes[1] & 16 && may_be_huge(d, bytes) ? made(OP_CALLOC, make(d, 0), 0, size)
                                        : made(OP_CALLOC, make(d, size), size, 1);
    uint64_t each = size / count;
    return made(OP_CALLOC, make(d, count * each), count, each);
}

static struct op decode_aligned(struct decoder *d, const uint8_t *bytes)
{
    static const uint8_t order[3] = { OP_ALIGNED_ALLOC, OP_MEMALIGN, OP_POSIX_MEMALIGN };
    unsigned turn = bytes[1] % 3;
    while (!allowed(d->limits, order[turn]))
        turn = (turn + 1) % 3;
    unsigned choice = bytes[1] / 3;
    int huge = may_be_huge(d, bytes);
    unsigned place = (choice + choice / 8) % EXPONENTS;
    if (choice >= 64 && huge)
        place = EXPONENTS + choice % FAR_EXPONENTS;
    unsigned exponent = d->limits->exponents[place];
    if (exponent < 3 && !switched(d->limits, DECODE_INVALID_ALIGNMENT))
        exponent += 4; /* 1, 2 and 4 are no alignments everywhere */
    uint64_t alignment = power_of_two(exponent);
    uint64_t size = palette_size(d, bytes);
    if (choice % 8 == 7 && alignment < PAGE)
        size = alignment; /* the sizes that forget the header's place */
    if (place >= EXPONENTS && bytes[3] & 1)
        size = 0 - alignment - (bytes[3] >> 1 & 63); /* those that wrap with the alignment */
    if (choice == 63 && huge && switched(d->limits, DECODE_INVALID_ALIGNMENT))
        alignment = bytes[3];
    return made(order[turn], make(d, alignment > size ? alignment : size), alignment, size);
}

static struct op decode_malloc(struct decoder *d, const uint8_t *bytes)
{
    uint64_t size = palette_size(d, bytes);
    return made(OP_MALLOC, make(d, size), size, 0);
}

static struct op decode_realloc(struct decoder *d, const uint8_t *bytes)
{
    uint32_t index = pick(d, bytes[1]);
    return resize_at(d, index, realloc_size(d, bytes, d->live[index].size));
}

/* One in eight of those that name another thread than the first is its end. */
static struct op decode_thread(const uint8_t *bytes)
{
    unsigned number = bytes[1] & 3;
    return plain(number && (bytes[1] >> 2 & 7) == 7 ? OP_END_THREAD : OP_THREAD, number, 0);
}

static struct op decode_deny(const uint8_t *bytes)
{
    uint64_t turn = bytes[1] & 7;
    return plain(OP_DENY, turn == 7 ? NIL : turn < 6 ? turn : bytes[3], 0);
}

static struct op decode_misuse(const struct decoder *d, const uint8_t *bytes, enum action action)
{
    if (action == A_DOUBLE_FREE) {
        uint32_t name = recently_freed(d, bytes[1] % d->freed_since)->name;
        int resized = allowed(d->limits, OP_REALLOC_FREED)
                      && (bytes[1] >= 128 || !allowed(d->limits, OP_DOUBLE_FREE));
        return resized ? plain(OP_REALLOC_FREED, name, realloc_size(d, bytes, d->last_size))
                       : plain(OP_DOUBLE_FREE, name, 0);
    }
    const struct block *block = &d->live[pick(d, bytes[1])];
    uint64_t distance = bytes[2] & 1 ? (uint64_t)8 << (bytes[3] & 3) : 1 + bytes[3];
    return plain(OP_INTERIOR_FREE, block->name, block->size > 1 ? distance % block->size : 0);
}

static struct op decode_rest(struct decoder *d, const uint8_t *bytes, enum action action)
{
    uint64_t size = palette_size(d, bytes);
    switch (action) {
    case A_WRITE: return plain(OP_WRITE, d->live[pick(d, bytes[1])].name, 0);
    case A_FREE_NULL: return plain(OP_FREE, NIL, 0);
    case A_REALLOC_NULL: return made(OP_REALLOC, make(d, size ? size : 1), NIL, size ? size : 1);
    case A_THREAD: return decode_thread(bytes);
    case A_DENY: return decode_deny(bytes);
    case A_FOREIGN: return plain(OP_FOREIGN, (uint64_t)(bytes[3] + 1) << (bytes[1] & 7), 0);
    default: return decode_misuse(d, bytes, action);
    }
}

/* What is done where an action has nothing to act on, or the heap is as full as it should be. */
static enum action adapted(const struct decoder *d, enum action action)
{
    int needs_block = action == A_FREE || action == A_REALLOC || action == A_WRITE
        || action == A_INTERIOR_FREE;
    if (needs_block && !d->live_count)
        return A_MALLOC;
    if (action == A_DOUBLE_FREE && !d->freed_since) /* only such a one would be executed */
        return d->live_count ? A_FREE : A_MALLOC;
    int makes = action == A_MALLOC || action == A_CALLOC || action == A_ALIGNED;
    if (makes && d->live_count >= d->live_target && allowed(d->limits, OP_FREE))
        return A_FREE;
    return action;
}

static struct op decode_one(struct decoder *d, const uint8_t *bytes)
{
    enum action asked = d->actions[bytes[0]];
    int disturbs = asked >= A_DENY && asked <= A_INTERIOR_FREE;
    if (in_row(d) && !disturbs)
        return decode_row(d, bytes);
    enum action action = adapted(d, asked);
    switch (action) {
    case A_MALLOC: return decode_malloc(d, bytes);
    case A_FREE: return free_at(d, pick(d, bytes[1]));
    case A_CALLOC: return decode_calloc(d, bytes);
    case A_REALLOC: return decode_realloc(d, bytes);
    case A_ALIGNED: return decode_aligned(d, bytes);
    case A_FREE_ALL: return free_everything(d);
    case A_ROW: return start_row(d, bytes);
    default: return decode_rest(d, bytes, action);
    }
}

/* ---- the public functions ---- */

size_t allocheck_decode(const uint8_t *data, size_t size, struct op *ops, size_t capacity,
                        const void *limits)
{
    struct decoder d;
    if (size <= PROFILE_BYTES || !allowed(limits, OP_MALLOC))
        return 0;
    open_decoder(&d, data, limits);
    size_t count = (size - PROFILE_BYTES) / OPERATION_BYTES;
    if (count > capacity)
        count = capacity;
    for (size_t i = 0; i < count; i++)
        ops[i] = decode_one(&d, data + PROFILE_BYTES + i * OPERATION_BYTES);
    return count;
}

uint64_t allocheck_decode_store(const uint8_t *data, size_t size, const void *limits)
{
    return size <= PROFILE_BYTES ? 0 : store_of(data, limits);
}
