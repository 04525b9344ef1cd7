/* A mutator for decoder.h's encoding: it moves, copies and changes whole operations.
 *
 * libFuzzer finds the two entry points when this library is loaded with global symbols before its
 * core; its own byte mutations, found late, take part too.  It decodes nothing.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "decoder.h"

#define EXPORTED __attribute__((visibility("default")))

typedef size_t (*byte_mutator)(uint8_t *data, size_t size, size_t max_size);

/* A program under mutation: `count` whole operations behind the profile. */
struct program {
    uint8_t *data;
    size_t count;
    size_t capacity;
    uint64_t random;
};

static uint32_t draw(struct program *p, uint32_t below)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return below ? (uint32_t)(p->random >> 32) % below : 0;
}

static uint8_t *at(struct program *p, size_t index)
{
    return p->data + PROFILE_BYTES + index * OPERATION_BYTES;
}

static size_t bytes_of(size_t operations)
{
    return operations * OPERATION_BYTES;
}

/* Opens a gap of `length` operations at `index`, or as much as there is room for. */
static size_t open_gap(struct program *p, size_t index, size_t length)
{
    if (length > p->capacity - p->count)
        length = p->capacity - p->count;
    memmove(at(p, index + length), at(p, index), bytes_of(p->count - index));
    p->count += length;
    return length;
}

static void insert_random(struct program *p)
{
    size_t index = draw(p, (uint32_t)p->count + 1);
    size_t length = open_gap(p, index, 1 + draw(p, 4));
    for (size_t i = 0; i < bytes_of(length); i++)
        at(p, index)[i] = (uint8_t)draw(p, 256);
}

static void erase(struct program *p)
{
    size_t index = draw(p, (uint32_t)p->count);
    size_t length = 1 + draw(p, draw(p, 4) ? 3 : 16);
    if (length > p->count - index)
        length = p->count - index;
    memmove(at(p, index), at(p, index + length), bytes_of(p->count - index - length));
    p->count -= length;
}

/* Repeats a stretch of the program elsewhere: loops are what fills bins and lists. */
static void repeat(struct program *p)
{
    uint8_t stretch[16 * OPERATION_BYTES];
    size_t from = draw(p, (uint32_t)p->count);
    size_t length = 1 + draw(p, 16);
    if (length > p->count - from)
        length = p->count - from;
    memcpy(stretch, at(p, from), bytes_of(length));
    size_t index = draw(p, (uint32_t)p->count + 1);
    memcpy(at(p, index), stretch, bytes_of(open_gap(p, index, length)));
}

static void swap(struct program *p)
{
    uint8_t operation[OPERATION_BYTES];
    uint8_t *one = at(p, draw(p, (uint32_t)p->count));
    uint8_t *other = at(p, draw(p, (uint32_t)p->count));
    memcpy(operation, one, OPERATION_BYTES);
    memmove(one, other, OPERATION_BYTES);
    memcpy(other, operation, OPERATION_BYTES);
}

static void change_field(struct program *p)
{
    at(p, draw(p, (uint32_t)p->count))[draw(p, OPERATION_BYTES)] = (uint8_t)draw(p, 256);
}

static void nudge_detail(struct program *p)
{
    uint8_t *detail = at(p, draw(p, (uint32_t)p->count)) + OPERATION_BYTES - 1;
    *detail = (uint8_t)(*detail + draw(p, 9) - 4);
}

static void change_profile(struct program *p)
{
    p->data[draw(p, PROFILE_BYTES)] = (uint8_t)draw(p, 256);
}

/* As the blind generator would: what no sequence of small steps leads to. */
static void start_anew(struct program *p)
{
    p->count = draw(p, (uint32_t)p->capacity + 1);
    for (size_t i = 0; i < PROFILE_BYTES + bytes_of(p->count); i++)
        p->data[i] = (uint8_t)draw(p, 256);
}

static void mutate_once(struct program *p)
{
    static void (*const mutations[])(struct program *) = {
        insert_random, insert_random, erase, erase, repeat, repeat, swap,
        change_field, change_field, change_field, nudge_detail,
    };
    if (p->count == 0)
        insert_random(p);
    else if (draw(p, 24) == 0)
        change_profile(p);
    else
        mutations[draw(p, sizeof mutations / sizeof *mutations)](p);
}

static uint64_t seeded(unsigned seed)
{
    return (seed + 1) * 0x9E3779B97F4A7C15u;
}

/* libFuzzer's own mutations (its dictionary of compared values among them) are a quarter. */
EXPORTED size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                                        unsigned seed)
{
    static byte_mutator mutate_bytes;
    if (!mutate_bytes)
        mutate_bytes = (byte_mutator)dlsym(RTLD_DEFAULT, "LLVMFuzzerMutate");
    if (max_size < PROFILE_BYTES + OPERATION_BYTES)
        return size;
    struct program p = { .data = data, .random = seeded(seed) };
    if (mutate_bytes && draw(&p, 4) == 0)
        return mutate_bytes(data, size, max_size);
    if (size < PROFILE_BYTES) {
        memset(data + size, 0, PROFILE_BYTES - size);
        size = PROFILE_BYTES;
    }
    p.count = (size - PROFILE_BYTES) / OPERATION_BYTES;
    p.capacity = (max_size - PROFILE_BYTES) / OPERATION_BYTES;
    if (draw(&p, 16) == 0)
        start_anew(&p);
    for (uint32_t times = 1 + draw(&p, 4); times; times--)
        mutate_once(&p);
    return PROFILE_BYTES + bytes_of(p.count);
}

/* The head of one program, at an operation's border, and the tail of another. */
EXPORTED size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size,
                                          const uint8_t *other, size_t other_size, uint8_t *out,
                                          size_t max_size, unsigned seed)
{
    struct program p = { .random = seeded(seed) };
    if (one_size < PROFILE_BYTES || other_size < PROFILE_BYTES || max_size < PROFILE_BYTES)
        return 0;
    size_t head = draw(&p, (uint32_t)((one_size - PROFILE_BYTES) / OPERATION_BYTES) + 1);
    size_t tail = draw(&p, (uint32_t)((other_size - PROFILE_BYTES) / OPERATION_BYTES) + 1);
    size_t split = PROFILE_BYTES + bytes_of(head);
    if (split > max_size)
        split = PROFILE_BYTES;
    if (tail > (max_size - split) / OPERATION_BYTES)
        tail = (max_size - split) / OPERATION_BYTES;
    size_t rest = bytes_of(tail);
    const uint8_t *end = other + PROFILE_BYTES
        + bytes_of((other_size - PROFILE_BYTES) / OPERATION_BYTES);
    memcpy(out, one, split);
    memcpy(out + split, end - rest, rest);
    return split + rest;
}
