/* See states.h.  Buckets are powers of two: a finer shape only dilutes the feedback. */
#include "states.h"

#include <string.h>

enum relation { NONE, FAILED, FRESH, EXACT, FRONT, MERGED, INNER, OTHER };

static uint32_t bucket(uint64_t value)
{
    return value ? 64 - (uint32_t)__builtin_clzll(value) : 0;
}

static enum relation relation_to_freed(const struct states *states, uint64_t address,
                                       uint64_t size)
{
    uint32_t kept = states->freed_count < FREED_RING ? states->freed_count : FREED_RING;
    for (uint32_t i = 1; i <= kept; i++) {
        const struct freed *freed = &states->freed[(states->freed_count - i) % FREED_RING];
        if (address == freed->address)
            return size == freed->size ? EXACT : size < freed->size ? FRONT : MERGED;
        if (address > freed->address && address - freed->address < freed->size)
            return INNER;
    }
    return OTHER;
}

void states_reset(struct states *states)
{
    states->freed_count = 0;
    states->low = UINT64_MAX;
    states->high = 0;
    states->live_bytes = 0;
    states->before = 0;
}

void states_freed(struct states *states, uint64_t address, uint64_t size)
{
    states->freed[states->freed_count++ % FREED_RING] = (struct freed){ address, size };
    states->live_bytes -= size;
}

void states_granted(struct states *states, uint64_t size)
{
    states->live_bytes += size;
}

void states_bump(struct states *states, const struct op *op, const struct observation *seen,
                 uint64_t size, uint32_t live)
{
    enum relation relation = NONE;
    if (op->name != NO_NAME && !seen->address)
        relation = FAILED;
    else if (op->name != NO_NAME && seen->address >= states->high)
        relation = FRESH;
    else if (op->name != NO_NAME)
        relation = relation_to_freed(states, seen->address, size);
    if (seen->address) {
        if (seen->address < states->low)
            states->low = seen->address;
        if (seen->address + size > states->high)
            states->high = seen->address + size;
    }
    uint64_t span = states->high > states->low ? states->high - states->low : 0;
    uint64_t holes = span > states->live_bytes ? span - states->live_bytes : 0;
    uint32_t here = (uint32_t)op->kind << 4 | relation << 1 | ((seen->flags & SEEN_PAGES) != 0);
    uint64_t state = (uint64_t)here << 32 | (uint64_t)(states->before & 0xff) << 16
                     | bucket(live) << 8 | bucket(holes);
    states->before = here;
    state *= UINT64_C(0x9e3779b97f4a7c15);
    uint8_t *counter = &states->counters[(state >> 40) & states->mask];
    *counter += *counter != UINT8_MAX;
}
