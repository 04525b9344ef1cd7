/* headed_blocks.h: blocks with a header of two words and no footer; no heap needed.
 *
 * The first word, `tag`, is the block's size with the lowest bit set while it is used; the second
 * is the allocator's own.  For the one source of an allocator, which defines struct mem_node, the
 * two words, before it includes this.
 */
#ifndef PARTS_HEADED_BLOCKS_H
#define PARTS_HEADED_BLOCKS_H

#include "parts/requests.h"

enum { HEADER = 16, MIN_BLOCK = 32 };
#define USED ((size_t)1)

_Static_assert(sizeof(struct mem_node) <= HEADER, "two words, each in 8 bytes or less");

static inline size_t block_size(size_t request)
{
    size_t size = round_up(request, ALIGN) + HEADER;
    return size < MIN_BLOCK ? MIN_BLOCK : size;
}

static inline struct mem_node *node_at(void *address)
{
    return (struct mem_node *)address;
}

static inline size_t size_of(const struct mem_node *block)
{
    return block->tag & ~USED;
}

static inline bool is_used(const struct mem_node *block)
{
    return (block->tag & USED) != 0;
}

static inline char *end_of(const struct mem_node *block)
{
    return (char *)block + size_of(block);
}

static inline void *payload_of(struct mem_node *block)
{
    return (char *)block + HEADER;
}

static inline struct mem_node *block_of(const void *payload)
{
    return node_at((char *)payload - HEADER);
}

#endif
