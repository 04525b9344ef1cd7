/* What the decoder knows while it decodes: the blocks that live, those freed lately, the row.
 *
 * Part of decoder.c; it decides nothing.
 */
#ifndef ALLOCHECK_DECODER_STATE_H
#define ALLOCHECK_DECODER_STATE_H

#include <stdint.h>
#include <string.h>

#include "decoder.h"

enum { LIVE_CAPACITY = 512, FREED_CAPACITY = 8, OWN_SIZES = 4, ROW_CAPACITY = 8, STEP = 16 };

struct block {
    uint64_t size;
    uint32_t name;
};

/* Blocks laid one behind another; decoder_rows.h says what becomes of them. */
struct row {
    struct block at[ROW_CAPACITY]; /* the name that lies there, and the most that fits */
    uint32_t count;
    uint32_t step, end; /* operations so far, and in all */
    uint32_t hole;      /* the place of the block that is to be refilled, or count */
    uint8_t shape;
    uint8_t clean; /* of all rows of the program: the heap is emptied first */
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
    struct row row;
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

static uint64_t power_of_two(unsigned exponent)
{
    return (uint64_t)1 << (exponent & 63);
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

/* Where the block of that name is among the live ones, live_count if it is none of them; names
 * go up along the array. */
static uint32_t place_of(const struct decoder *d, uint32_t name)
{
    uint32_t index = d->live_count;
    while (index && d->live[index - 1].name > name)
        index--;
    return index && d->live[index - 1].name == name ? index - 1 : d->live_count;
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

/* ---- operations ---- */

static struct op plain(enum op_kind kind, uint64_t first, uint64_t second)
{
    return (struct op){ .kind = (uint8_t)kind, .name = NO_NAME, .first = first, .second = second };
}

static struct op made(enum op_kind kind, uint32_t name, uint64_t first, uint64_t second)
{
    return (struct op){ .kind = (uint8_t)kind, .name = name, .first = first, .second = second };
}

static struct op free_everything(struct decoder *d)
{
    d->live_count = 0;
    d->laid = 0;
    return plain(OP_FREE_ALL, 0, 0);
}

#endif
