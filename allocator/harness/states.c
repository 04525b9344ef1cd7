/* See states.h.  Buckets are powers of two: a finer shape only dilutes the feedback. */
#include "states.h"

#include <string.h>

enum relation { NONE, FAILED, FRESH, EXACT, FRONT, MERGED, INNER, OTHER };
enum { GRANTS = 0, RELEASES = 256, PAIRS = 512, SHAPES = 768 };
enum { TAGS = 32, LARGE = 512 }; /* what may lie between neighbours; where blocks count as large */

static uint32_t bucket(uint64_t value)
{
    return value ? 64 - (uint32_t)__builtin_clzll(value) : 0;
}

static void bump(struct states *states, uint32_t index)
{
    uint8_t *counter = &states->counters[index & (STATE_COUNT - 1)];
    *counter += *counter != UINT8_MAX;
}

/* ---- blocks freed lately ---- */

static uint32_t kept(const struct states *states)
{
    return states->freed_count < FREED_RING ? states->freed_count : FREED_RING;
}

/* How a grant lies to them; the one that it takes is forgotten. */
static enum relation take_freed(struct states *states, uint64_t address, uint64_t size)
{
    for (uint32_t i = 1; i <= kept(states); i++) {
        struct freed *freed = &states->freed[(states->freed_count - i) % FREED_RING];
        if (address - freed->address >= freed->size && address != freed->address)
            continue;
        enum relation relation = address != freed->address ? INNER
                                 : size == freed->size     ? EXACT
                                 : size < freed->size      ? FRONT
                                                           : MERGED;
        freed->address = freed->size = 0;
        return relation;
    }
    return OTHER;
}

static uint32_t likeness(uint64_t one, uint64_t other)
{
    return one - other + TAGS <= 2 * TAGS;
}

/* What lies around a block: is the lower, the upper neighbour free, and of the same size? */
static uint32_t surroundings(const struct states *states, uint64_t address, uint64_t size)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < kept(states); i++) {
        const struct freed *freed = &states->freed[i];
        if (!freed->address)
            continue;
        if (address - (freed->address + freed->size) <= TAGS)
            seen |= 1 | likeness(size, freed->size) << 2;
        else if (freed->address - (address + size) <= TAGS)
            seen |= 2 | likeness(size, freed->size) << 3;
    }
    return seen;
}

/* ---- the run ---- */

void states_reset(struct states *states)
{
    states->freed_count = 0;
    states->released = 0;
    states->before = 0;
    states->low = UINT64_MAX;
    states->high = 0;
    states->live_bytes = 0;
}

void states_freed(struct states *states, uint64_t address, uint64_t size)
{
    if (states->counters)
        states->released = 32 | surroundings(states, address, size) | (size >= LARGE) << 4;
    states->freed[states->freed_count++ % FREED_RING] = (struct freed){ address, size };
    states->live_bytes -= size;
}

void states_granted(struct states *states, uint64_t size)
{
    states->live_bytes += size;
}

static enum relation relation_of(struct states *states, const struct op *op,
                                 const struct observation *seen, uint64_t size)
{
    if (op->name == NO_NAME)
        return NONE;
    if (!seen->address)
        return FAILED;
    return seen->address >= states->high ? FRESH : take_freed(states, seen->address, size);
}

static void bump_shape(struct states *states, uint32_t live)
{
    uint64_t span = states->high > states->low ? states->high - states->low : 0;
    uint64_t holes = span > states->live_bytes ? span - states->live_bytes : 0;
    uint32_t coarse = bucket(holes) / 2;
    uint32_t many = bucket(live);
    states->counters[SHAPES + (many < 15 ? many : 15) * 16 + (coarse < 15 ? coarse : 15)] = 1;
}

void states_bump(struct states *states, const struct op *op, const struct observation *seen,
                 uint64_t size, uint32_t live)
{
    if (seen->flags & SEEN_SKIPPED)
        return;
    enum relation relation = relation_of(states, op, seen, size);
    uint32_t pages = (seen->flags & SEEN_PAGES) != 0;
    bump(states, GRANTS + ((uint32_t)op->kind << 4 | relation << 1 | pages));
    if (states->released) {
        int stayed = relation == EXACT || relation == FRONT;
        uint32_t by = op->kind == OP_REALLOC ? 32 + 32 * (uint32_t)stayed : 0;
        bump(states, RELEASES + by + (states->released & 31));
    }
    states->released = 0;
    if (relation != NONE) {
        bump(states, PAIRS + (states->before << 3 | relation) * 4 + (size >= LARGE) + 2 * pages);
        states->before = relation;
    }
    if (seen->address && seen->address < states->low)
        states->low = seen->address;
    if (seen->address && seen->address + size > states->high)
        states->high = seen->address + size;
    bump_shape(states, live);
}
