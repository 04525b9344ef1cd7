/* A mutator for decoder.h's encoding: it moves, copies and changes whole operations.
 *
 * libFuzzer finds the two entry points when this library is loaded with global symbols before its
 * core; its own byte mutations, found late, take part too.  It decodes nothing.
 */
#include "mutator.h"

#include <dlfcn.h>
#include <string.h>

#include "decoder.h"

#define EXPORTED __attribute__((visibility("default")))

enum { LONGEST_STRETCH = 16, MOST_ROUNDS = 16, ONE_IN_DENSE = 4 };

typedef size_t (*byte_mutator)(uint8_t *data, size_t size, size_t max_size);

/* A program under mutation: `count` whole operations behind the profile. */
struct program {
    uint8_t *data;
    size_t count;
    size_t capacity;
    uint64_t random;
};

/* ---- chance ---- */

static uint64_t seeded(unsigned seed)
{
    return ((uint64_t)seed + 1) * 0x9E3779B97F4A7C15u;
}

static uint32_t next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)(*random >> 32);
}

static uint32_t draw(struct program *p, size_t below)
{
    return below ? next(&p->random) % (uint32_t)below : 0;
}

static void fill(struct program *p, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)draw(p, 256);
}

/* ---- whole operations ---- */

static size_t bytes_of(size_t operations)
{
    return operations * OPERATION_BYTES;
}

static size_t operations_in(size_t size)
{
    return size < PROFILE_BYTES ? 0 : (size - PROFILE_BYTES) / OPERATION_BYTES;
}

static uint8_t *at(struct program *p, size_t index)
{
    return p->data + PROFILE_BYTES + bytes_of(index);
}

static uint8_t *any(struct program *p)
{
    return at(p, draw(p, p->count));
}

static size_t least(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Opens a gap of `length` operations at `index`; where there is no room, the end goes. */
static size_t open_gap(struct program *p, size_t index, size_t length)
{
    length = least(length, p->capacity - index);
    size_t kept = least(p->count - index, p->capacity - index - length);
    memmove(at(p, index + length), at(p, index), bytes_of(kept));
    p->count = index + length + kept;
    return length;
}

static void close_gap(struct program *p, size_t index, size_t length)
{
    memmove(at(p, index), at(p, index + length), bytes_of(p->count - index - length));
    p->count -= length;
}

/* Some operations in a row, copied out; short stretches are the more frequent ones. */
struct stretch {
    size_t from, length;
    uint8_t bytes[LONGEST_STRETCH * OPERATION_BYTES];
};

static struct stretch take_stretch(struct program *p)
{
    struct stretch taken = { .from = draw(p, p->count) };
    taken.length = least(1 + draw(p, draw(p, 2) ? 4 : LONGEST_STRETCH), p->count - taken.from);
    memcpy(taken.bytes, at(p, taken.from), bytes_of(taken.length));
    return taken;
}

/* ---- the mutations of a program that has operations ---- */

static void insert(struct program *p)
{
    size_t index = draw(p, p->count + 1);
    size_t length = open_gap(p, index, 1 + draw(p, 4));
    fill(p, at(p, index), bytes_of(length));
}

static void erase(struct program *p)
{
    struct stretch taken = take_stretch(p);
    close_gap(p, taken.from, taken.length);
}

static void swap(struct program *p)
{
    uint8_t operation[OPERATION_BYTES];
    uint8_t *one = any(p), *other = any(p);
    memcpy(operation, one, OPERATION_BYTES);
    memmove(one, other, OPERATION_BYTES);
    memcpy(other, operation, OPERATION_BYTES);
}

static void move(struct program *p)
{
    struct stretch taken = take_stretch(p);
    close_gap(p, taken.from, taken.length);
    size_t index = draw(p, p->count + 1);
    open_gap(p, index, taken.length);
    memcpy(at(p, index), taken.bytes, bytes_of(taken.length));
}

static void duplicate(struct program *p)
{
    struct stretch taken = take_stretch(p);
    size_t index = draw(p, p->count + 1);
    memcpy(at(p, index), taken.bytes, bytes_of(open_gap(p, index, taken.length)));
}

/* Loops are what fills bins and lists; the rest of the program is to stay if there is room. */
static void loop(struct program *p)
{
    struct stretch taken = take_stretch(p);
    size_t most = least((p->capacity - p->count) / taken.length, MOST_ROUNDS);
    for (size_t rounds = 1 + draw(p, most); rounds; rounds--)
        memcpy(at(p, taken.from), taken.bytes, bytes_of(open_gap(p, taken.from, taken.length)));
}

static void change_action(struct program *p)
{
    fill(p, any(p), 1);
}

static void change_block(struct program *p)
{
    fill(p, any(p) + 1, 1);
}

static void change_size(struct program *p)
{
    if (draw(p, 2))
        fill(p, any(p) + 3, 1);
    else
        fill(p, any(p) + 2, 2);
}

/* A step of the detail is one byte of most sizes, a step of the class's upper half of the others;
 * a step of the selector is the neighbour among the blocks. */
static void step(struct program *p, uint8_t *operation)
{
    static const struct { uint8_t field, by; } steps[] = {
        { 3, 1 }, { 3, 1 }, { 2, 16 }, { 1, 1 },
    };
    size_t which = draw(p, sizeof steps / sizeof *steps);
    uint8_t by = steps[which].by;
    operation[steps[which].field] += draw(p, 2) ? by : (uint8_t)-by;
}

static void go_one_off(struct program *p)
{
    step(p, any(p));
}

static void copy_size(struct program *p)
{
    uint8_t *to = any(p), *from = any(p);
    memmove(to + 2, from + 2, 2);
    if (!draw(p, 2))
        to[3] += draw(p, 2) ? 1 : (uint8_t)-1;
}

static void go_extreme(struct program *p)
{
    uint8_t *operation = any(p);
    operation[2] = EXTREME_CLASS;
    fill(p, operation + 3, 1);
    if (!draw(p, 2))
        fill(p, operation, 2);
}

static void change_profile(struct program *p)
{
    fill(p, p->data + draw(p, PROFILE_BYTES), 1);
}

static void regrow(struct program *p)
{
    size_t index = draw(p, p->count);
    size_t length = 1 + draw(p, p->count - index + LONGEST_STRETCH);
    p->count = index;
    fill(p, at(p, index), bytes_of(open_gap(p, index, length)));
}

/* What no sequence of small steps leads to. */
static void start_anew(struct program *p)
{
    p->count = 1 + draw(p, p->capacity);
    fill(p, p->data, PROFILE_BYTES + bytes_of(p->count));
}

/* ---- which, and how often ---- */

static const struct {
    void (*apply)(struct program *p);
    uint8_t share;
} mutations[MUTATIONS] = {
    [M_INSERT] = { insert, 4 },         [M_DELETE] = { erase, 4 },
    [M_SWAP] = { swap, 2 },             [M_MOVE] = { move, 1 },
    [M_DUPLICATE] = { duplicate, 3 },   [M_LOOP] = { loop, 1 },
    [M_ACTION] = { change_action, 1 },  [M_BLOCK] = { change_block, 2 },
    [M_SIZE] = { change_size, 3 },      [M_ONE_OFF] = { go_one_off, 3 },
    [M_SAME_SIZE] = { copy_size, 2 },   [M_EXTREME] = { go_extreme, 1 },
    [M_PROFILE] = { change_profile, 1 }, [M_REGROW] = { regrow, 2 },
    [M_ANEW] = { start_anew, 1 },
};

static enum mutation choose(uint64_t *random)
{
    uint32_t total = 0;
    for (enum mutation each = 0; each < MUTATIONS; each++)
        total += mutations[each].share;
    uint32_t left = next(random) % total;
    enum mutation each = 0;
    while (left >= mutations[each].share)
        left -= mutations[each++].share;
    return each;
}

static void apply(struct program *p, enum mutation mutation)
{
    mutations[p->count ? mutation : M_INSERT].apply(p);
}

static struct program opened(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (size < PROFILE_BYTES)
        memset(data + size, 0, PROFILE_BYTES - size);
    return (struct program){ data, operations_in(size), operations_in(max_size), seeded(seed) };
}

static size_t size_of(const struct program *p)
{
    return PROFILE_BYTES + bytes_of(p->count);
}

/* ---- the public functions ---- */

EXPORTED size_t mutator_apply(enum mutation mutation, uint8_t *data, size_t size, size_t max_size,
                              unsigned seed)
{
    struct program p = opened(data, size, max_size, seed);
    apply(&p, mutation);
    return size_of(&p);
}

EXPORTED size_t mutator_cross(enum crossing crossing, const uint8_t *one, size_t one_size,
                              const uint8_t *other, size_t other_size, uint8_t *out,
                              size_t max_size, unsigned seed)
{
    if (one_size < PROFILE_BYTES || other_size < PROFILE_BYTES || max_size < PROFILE_BYTES)
        return 0;
    size_t capacity = operations_in(max_size);
    size_t count = least(operations_in(one_size), capacity);
    struct program p = { out, count, capacity, seeded(seed) };
    memcpy(out, one, PROFILE_BYTES + bytes_of(p.count));
    size_t there = operations_in(other_size);
    size_t index = draw(&p, p.count + 1);
    size_t from = draw(&p, there + 1), length = there - from;
    if (crossing != C_SPLICE && length)
        length = 1 + draw(&p, length);
    if (crossing == C_SPLICE)
        p.count = index;
    if (crossing == C_OVERLAY)
        close_gap(&p, index, least(length, p.count - index));
    length = open_gap(&p, index, length);
    memcpy(at(&p, index), other + PROFILE_BYTES + bytes_of(from), bytes_of(length));
    return size_of(&p);
}

/* The generator beside the mutator: what is deep and on no rare path, dense programs meet sooner
 * than mutants do. */
static void generate(struct program *p)
{
    start_anew(p);
    p->data[2] |= DENSE_BIT;
}

/* libFuzzer's own mutations (its dictionary of compared values among them) are an eighth. */
EXPORTED size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                                        unsigned seed)
{
    static byte_mutator mutate_bytes;
    if (!mutate_bytes)
        mutate_bytes = (byte_mutator)dlsym(RTLD_DEFAULT, "LLVMFuzzerMutate");
    if (max_size < PROFILE_BYTES + OPERATION_BYTES)
        return size;
    struct program p = opened(data, size, max_size, seed);
    if (draw(&p, ONE_IN_DENSE) == 0) {
        generate(&p);
        return size_of(&p);
    }
    if (mutate_bytes && draw(&p, 8) == 0)
        return mutate_bytes(data, size, max_size);
    for (uint32_t times = 1 + draw(&p, 4); times; times--)
        apply(&p, choose(&p.random));
    return size_of(&p);
}

/* Zero tells libFuzzer to ask for something else: half of all it makes would be crossings. */
EXPORTED size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size,
                                          const uint8_t *other, size_t other_size, uint8_t *out,
                                          size_t max_size, unsigned seed)
{
    uint64_t random = seeded(seed);
    if (next(&random) % 4)
        return 0;
    return mutator_cross(next(&random) % CROSSINGS, one, one_size, other, other_size, out,
                         max_size, next(&random));
}
