/* A coarse shape of the heap after each operation, counted as extra coverage.
 *
 * Seen from outside, so that it works for any subject: what kind of operation, how the block
 * granted lies to blocks freed lately, how many blocks live, how much of the heap is holes. */
#ifndef ALLOCHECK_STATES_H
#define ALLOCHECK_STATES_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

enum { FREED_RING = 8 };

struct freed {
    uint64_t address;
    uint64_t size;
};

struct states {
    uint8_t *counters; /* NULL: off */
    size_t mask;
    struct freed freed[FREED_RING]; /* the last blocks freed, newest at freed_count - 1 */
    uint32_t freed_count;
    uint64_t low, high;  /* addresses ever granted in this run */
    uint64_t live_bytes;
    uint32_t before;     /* kind and relation of the operation before */
};

void states_reset(struct states *states);
void states_freed(struct states *states, uint64_t address, uint64_t size);
void states_granted(struct states *states, uint64_t size);

/* Bumps the counter of the state that `op` left behind. */
void states_bump(struct states *states, const struct op *op, const struct observation *seen,
                 uint64_t size, uint32_t live);

#endif
