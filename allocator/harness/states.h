/* A coarse shape of the heap after each operation, counted as extra coverage.
 *
 * Seen from outside, so that it works for any subject.  Four small tables in one: how the block
 * granted lies to blocks freed lately; what lies around the block released; the answers of two
 * allocations in a row; how many blocks live in how much of holes.  Small on purpose: a table in
 * which every program finds an empty place guides nobody. */
#ifndef ALLOCHECK_STATES_H
#define ALLOCHECK_STATES_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

enum { FREED_RING = 16, STATE_COUNT = 1024 };

struct freed {
    uint64_t address; /* 0: granted again */
    uint64_t size;
};

struct states {
    uint8_t *counters; /* STATE_COUNT of them; NULL: off */
    struct freed freed[FREED_RING]; /* the last blocks freed, newest at freed_count - 1 */
    uint32_t freed_count;
    uint32_t released;   /* what lay around the block released last; 0: none since the last op */
    uint32_t before;     /* the relation of the allocation before */
    uint64_t low, high;  /* addresses ever granted in this run */
    uint64_t live_bytes;
};

void states_reset(struct states *states);
void states_freed(struct states *states, uint64_t address, uint64_t size);
void states_granted(struct states *states, uint64_t size);

/* Bumps the counters of the state that `op` left behind. */
void states_bump(struct states *states, const struct op *op, const struct observation *seen,
                 uint64_t size, uint32_t live);

#endif
