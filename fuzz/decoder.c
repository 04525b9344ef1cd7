/* The implementation of decoder.h.  It calls nothing and knows no executor. */
#include "decoder.h"

#include <string.h>

#include "decoder_tables.h"

enum { LIVE_CAPACITY = 512, FREED_CAPACITY = 8, OWN_SIZES = 4, PAGE = 4096,
       PLAIN_DISTANCES = 16, BULK = 1 << 20, STEP = 16 };

/* ---- the decoder's state ---- */

struct block {
    uint64_t size;
    uint32_t name;
};

struct decoder {
    const struct decode_limits *limits;
    uint64_t heap_bytes;  /* more than this cannot be had; 0: unknown */
    uint64_t share_bytes; /* what sizes that are a share of the heap are a share of */
    uint64_t recurring_bytes; /* no size that is made from other blocks' is larger */
    const uint8_t *palette;
    uint32_t live_target;
    uint32_t live_count;
    uint32_t freed_count; /* ever; the last FREED_CAPACITY are kept */
    uint32_t freed_since; /* since the last allocation */
    uint32_t names;
    int huge, bulky;
    uint64_t last_size;
    uint64_t laid; /* bytes of blocks one behind another, had nothing been freed */
    uint64_t own[OWN_SIZES];
    struct block freed[FREED_CAPACITY];
    uint8_t actions[256];
    struct block live[LIVE_CAPACITY]; /* oldest first */
};

static int allowed(const struct decode_limits *limits, enum op_kind kind)
{
    return (limits->kinds >> kind) & 1;
}

static int switched(const struct decode_limits *limits, enum decode_switch which)
{
    return (limits->switches & which) != 0;
}

/* One of the distances, modulo 2^64. */
static uint64_t near(const struct decoder *d, unsigned detail)
{
    return (uint64_t)(int64_t)d->limits->near[detail % PLAIN_DISTANCES];
}

static uint64_t power_of_two(unsigned exponent)
{
    return (uint64_t)1 << (exponent & 63);
}

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

/* Swarm: a set bit of profile[0] switches an ordinary action off; of the disturbing ones, each
 * takes part in a quarter of the programs, misuse in a quarter of those: a promised abort ends
 * them.  Malloc and free always take part. */
static int takes_part(const struct decode_limits *limits, const uint8_t *profile,
                      enum action action)
{
    if (action <= A_FREE)
        return 1;
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
    d->last_size = 16;
    d->laid = 0;
    d->own[0] = profile[5];
    d->own[1] = profile[6] * (uint64_t)4;
    d->own[2] = profile[7] * (uint64_t)16;
    d->own[3] = d->own[0] + d->own[1] + 16;
    choose_actions(d, profile, dense);
}

/* ---- blocks ---- */

/* The lower half of the selectors counts from the newest block, the upper half from the oldest,
 * so that what an operation means survives a change far from it. */
static uint32_t pick(const struct decoder *d, uint8_t which)
{
    uint32_t steps = (which & 127u) % d->live_count;
    return which < 128 ? d->live_count - 1 - steps : steps;
}

static void forget(struct decoder *d, uint32_t index)
{
    d->live_count--;
    memmove(d->live + index, d->live + index + 1, (d->live_count - index) * sizeof *d->live);
}

static int hopeless(const struct decoder *d, uint64_t size)
{
    return size > (d->heap_bytes ? d->heap_bytes : power_of_two(40));
}

/* Takes a new name; the block counts as live unless nobody could grant it. */
static uint32_t make(struct decoder *d, uint64_t size)
{
    uint32_t name = d->names++;
    d->last_size = size;
    d->freed_since = 0;
    if (!hopeless(d, size)) {
        d->laid += (size + 2 * STEP - 1) / STEP * STEP;
        if (d->live_count == LIVE_CAPACITY)
            forget(d, 0);
        d->live[d->live_count++] = (struct block){ size, name };
    }
    return name;
}

static struct block release(struct decoder *d, uint32_t index)
{
    struct block block = d->live[index];
    d->freed[d->freed_count++ % FREED_CAPACITY] = block;
    d->freed_since++;
    forget(d, index);
    if (!d->live_count)
        d->laid = 0;
    return block;
}

static const struct block *recently_freed(const struct decoder *d, unsigned back)
{
    uint32_t kept = d->freed_count < FREED_CAPACITY ? d->freed_count : FREED_CAPACITY;
    return kept ? &d->freed[(d->freed_count - 1 - back % kept) % FREED_CAPACITY] : NULL;
}

/* ---- sizes ---- */

static uint64_t huge_size(const struct decoder *d, unsigned class, unsigned detail)
{
    uint64_t base = d->limits->huge[class & 7];
    uint64_t distance = class & 8 ? detail * 8 : detail >> 1 & 31;
    if (!(class & 8) && distance >= 24) /* the limit itself, more often than its neighbours */
        distance = 0;
    return base == UINT64_MAX || detail & 1 ? base - distance : base + distance;
}

static uint64_t edge_size(const struct decoder *d, unsigned class, unsigned detail)
{
    uint64_t edge = power_of_two(3 + class % 11);
    if (d->limits->edge_count && !(class & 1)) {
        uint32_t count = d->limits->edge_count;
        edge = d->limits->edges[(detail >> 4) % (count < EDGE_CAPACITY ? count : EDGE_CAPACITY)];
    }
    return edge + near(d, detail);
}

/* The size of a recently freed block, more or less; `merged`: of two of them together. */
static uint64_t freed_size(const struct decoder *d, unsigned class, unsigned detail, int merged)
{
    const struct block *block = recently_freed(d, detail >> 4);
    if (!block)
        return detail;
    uint64_t size = block->size + near(d, detail);
    if (merged)
        size += recently_freed(d, class + (detail >> 4) + 1)->size + 16;
    return size > d->recurring_bytes ? size % d->recurring_bytes : size;
}

/* Around a threshold; the lower three bits of the index are 0 with 3/4 each, for what is large
 * costs time. */
static uint64_t bulky_size(const struct decoder *d, unsigned class, unsigned detail)
{
    uint64_t size = d->limits->large[(detail >> 5 & class) + (class & 8)];
    return size + (uint64_t)(int64_t)d->limits->near[detail % DISTANCES];
}

/* Up to where pages end: a page or a few, or so many bytes that the blocks so far and this one fill
 * some, which is what the last block of an arena does. */
static uint64_t pages_size(const struct decoder *d, unsigned class, unsigned detail)
{
    if (!(class & 8))
        return PAGE * (uint64_t)((class & 3) + 1) + (detail >> 3) * 8 - 128 + (detail & 1);
    uint64_t unit = (uint64_t)PAGE << (class & 7) % 5;
    if (unit > d->recurring_bytes)
        unit = PAGE;
    uint64_t rest = unit - d->laid % unit;
    return rest + (uint64_t)(int64_t)d->limits->near[detail % DISTANCES];
}

static uint64_t size_of_class(const struct decoder *d, enum size_class kind, unsigned class,
                              unsigned detail)
{
    switch (kind) {
    case S_TINY: return detail & 31;
    case S_SMALL: return detail;
    case S_STEPS: return (uint64_t)detail * 16 + class - 8;
    case S_POWER: return power_of_two(3 + (detail & 15) % 11) + (detail >> 4) - 8;
    case S_EDGE: return edge_size(d, class, detail);
    case S_FREED: return freed_size(d, class, detail, 0);
    case S_MERGED: return freed_size(d, class, detail, 1);
    case S_SAME: return d->last_size + (class & 8 ? near(d, detail) : 0);
    case S_OWN: return d->own[detail % OWN_SIZES];
    case S_PAGES: return pages_size(d, class, detail);
    case S_SHARE: return d->share_bytes / 256 * detail + class;
    case S_LARGE: return (uint64_t)detail * 1024 * (class ? 1 : 4) + class;
    case S_HUGE: return huge_size(d, class, detail);
    case S_ZERO: return 0;
    case S_BULKY: return bulky_size(d, class, detail);
    }
    return detail;
}

/* The bytes ask for what a dense program has by itself never. */
static int is_extreme(const struct decoder *d, const uint8_t *bytes)
{
    return bytes[2] == EXTREME_CLASS && !switched(d->limits, DECODE_DENSE);
}

static int may_be_huge(const struct decoder *d, const uint8_t *bytes)
{
    return d->huge || is_extreme(d, bytes);
}

static uint64_t palette_size(const struct decoder *d, const uint8_t *bytes)
{
    if (is_extreme(d, bytes))
        return huge_size(d, bytes[3] >> 5, bytes[3]);
    enum size_class kind = d->palette[bytes[2] & 15];
    if (d->bulky && (bytes[2] & 15) <= switched(d->limits, DECODE_RARE))
        kind = S_BULKY;
    uint64_t size = size_of_class(d, kind, bytes[2] >> 4, bytes[3]);
    int negative = size > UINT64_MAX - 1024 && kind != S_HUGE;
    return negative ? 0 : size;
}

static uint64_t realloc_size(const struct decoder *d, const uint8_t *bytes, uint64_t old)
{
    static const uint8_t shift[8] = { 0, 0, 0, 1, 2, 0, 0, 0 };
    uint64_t size = palette_size(d, bytes);
    unsigned shape = bytes[2] >> 4;
    if (shape & 1 && !is_extreme(d, bytes)) { /* relative to what the block has */
        uint64_t delta = bytes[3] >> 4;
        delta = delta & 8 ? delta * 16 : near(d, bytes[3]);
        size = shape & 8 ? (old << shift[shape >> 1 & 7]) + delta
                         : (old >> shift[shape >> 1 & 7]) - delta;
        if (size > d->recurring_bytes)
            size = old;
    }
    return size || switched(d->limits, DECODE_REALLOC_ZERO) ? size : 1;
}

/* ---- operations ---- */

static struct op plain(enum op_kind kind, uint64_t first, uint64_t second)
{
    return (struct op){ .kind = (uint8_t)kind, .name = NO_NAME, .first = first, .second = second };
}

static struct op made(enum op_kind kind, uint32_t name, uint64_t first, uint64_t second)
{
    return (struct op){ .kind = (uint8_t)kind, .name = name, .first = first, .second = second };
}

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
    struct block old = d->live[index];
    uint64_t size = realloc_size(d, bytes, old.size);
    if (!hopeless(d, size))
        release(d, index);
    return made(OP_REALLOC, make(d, size), old.name, size);
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
    enum action action = adapted(d, d->actions[bytes[0]]);
    switch (action) {
    case A_MALLOC: return decode_malloc(d, bytes);
    case A_FREE: return plain(OP_FREE, release(d, pick(d, bytes[1])).name, 0);
    case A_CALLOC: return decode_calloc(d, bytes);
    case A_REALLOC: return decode_realloc(d, bytes);
    case A_ALIGNED: return decode_aligned(d, bytes);
    case A_FREE_ALL: d->live_count = 0; d->laid = 0; return plain(OP_FREE_ALL, 0, 0);
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
