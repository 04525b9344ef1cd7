/* Pools of blocks of fixed sizes, in memory that you bring: for a device without a heap.
 *
 * Taking and giving take constant time; nothing is ever split or merged, so nothing fragments.
 * A request gets a block of the smallest size that holds it, or of a larger one when those are
 * all taken; one of more than POOLS_LARGEST bytes is refused.  Blocks are aligned to 8. */
#ifndef POOLS_H
#define POOLS_H

#include <stddef.h>

#define POOLS_LARGEST 256

/* Shares `size` bytes out among the pools; 0, or -1 where they are too few. */
int pools_init(void *memory, size_t size);

/* A block of at least `size` bytes, NULL if there is none. */
void *pools_take(size_t size);

/* Gives a block back; NULL is no block. */
void pools_give(void *block);

#endif
