/* See states.h. */
#include "states.h"

#include <string.h>

enum { TAGS = 32, LARGE = 512 }; /* what may lie between neighbours; where blocks count as large */
enum { LOWER_FREE = 1, UPPER_FREE = 2, LOWER_ALIKE = 4, UPPER_ALIKE = 8, IS_LARGE = 16,
       RELEASED = 32, STAYED = 32, MOVED = 64 }; /* the last two: by a resize */

/* ---- blocks freed lately ---- */

static uint32_t kept(const struct states *states)
{
    return states->freed_count < FREED_RING ? states->freed_count : FREED_RING;
}

/* A grant takes the freed block that it lies in; says whether it begins where that did. */
static int take_freed(struct states *states, uint64_t address)
{
    for (uint32_t i = 1; i <= kept(states); i++) {
        struct freed *freed = &states->freed[(states->freed_count - i) % FREED_RING];
        if (address - freed->address >= freed->size && address != freed->address)
            continue;
        int stayed = address == freed->address;
        freed->address = freed->size = 0;
        return stayed;
    }
    return 0;
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
            seen |= LOWER_FREE | likeness(size, freed->size) * LOWER_ALIKE;
        else if (freed->address - (address + size) <= TAGS)
            seen |= UPPER_FREE | likeness(size, freed->size) * UPPER_ALIKE;
    }
    return seen;
}

/* ---- the run ---- */

void states_reset(struct states *states)
{
    states->freed_count = 0;
    states->released = 0;
}

void states_freed(struct states *states, uint64_t address, uint64_t size)
{
    uint32_t large = size >= LARGE ? IS_LARGE : 0;
    states->released = RELEASED | surroundings(states, address, size) | large;
    states->freed[states->freed_count++ % FREED_RING] = (struct freed){ address, size };
}

void states_bump(struct states *states, const struct op *op, const struct observation *seen)
{
    if (seen->flags & SEEN_SKIPPED)
        return;
    int stayed = op->name != NO_NAME && seen->address && take_freed(states, seen->address);
    if (states->released) {
        uint32_t resized = op->kind == OP_REALLOC ? stayed ? STAYED : MOVED : 0;
        states->counters[(states->released & (RELEASED - 1)) + resized] = 1;
    }
    states->released = 0;
}
