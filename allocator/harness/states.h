/* What a block that goes leaves behind, counted as extra coverage.
 *
 * Seen from outside, so that it works for any subject: is the lower, the upper neighbour free, is
 * it of the same size, is the block large, did a resize stay or move.  A state is reached or not;
 * how often does not count.  Small on purpose: a table in which every program finds an empty
 * place guides nobody. */
#ifndef ALLOCHECK_STATES_H
#define ALLOCHECK_STATES_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

enum { FREED_RING = 16, STATE_COUNT = 128 };

struct freed {
    uint64_t address; /* 0: granted again */
    uint64_t size;
};

struct states {
    uint8_t *counters; /* STATE_COUNT of them; NULL: off */
    struct freed freed[FREED_RING]; /* the last blocks freed, newest at freed_count - 1 */
    uint32_t freed_count;
    uint32_t released;   /* what lay around the block released last; 0: none since the last op */
};

void states_reset(struct states *states);
void states_freed(struct states *states, uint64_t address, uint64_t size);

/* Notes the state that `op` left behind. */
void states_bump(struct states *states, const struct op *op, const struct observation *seen);

#endif
