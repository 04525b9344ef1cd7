/* bump: a linear allocator in chained arenas; what was allocated last is given back first.
 *
 * An arena is one mapped region.  Blocks are laid one behind the other from its lower end; the
 * room above the last one is where the next one goes, by a step of one pointer:
 *
 *      | arena header, 32 | block | block | ...... | block | room .............. |
 *      ^ page-aligned      ^ start                  ^ last  ^ current            ^ end
 *
 * A block is a header of 16 bytes and the payload, both 16-byte aligned; sizes count the header
 * and are multiples of 16.  The header holds the block's size, with the lowest bit set while the
 * block is used, and the address of the block below it in the arena, NULL in the first one:
 *
 *      | size+1 | below | payload, 16-byte aligned .............. |
 *      ^ block           ^ block+16                               ^ block+size
 *
 * Arenas form a stack, the newest on top, and so do the blocks of all arenas together: their last
 * block is the last of the newest arena.
 *
 * PLACEMENT.  A request of n bytes takes block_size(n) = 16 + max(16, n rounded up to a multiple
 * of 16) bytes at the newest arena's current address.  Nothing else is ever looked at.
 *
 * GROWTH.  When the room of the newest arena is too small, or there is no arena, a new one goes
 * on top: 32 + block_size(n) bytes rounded up to a multiple of 4096, at least 16384.  The room
 * that the arena below had left stays unused while there is one above it.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  For a larger one the payload
 * is the lowest aligned address at or above current + 16; what this leaves out between current
 * and the block becomes a free block of its own, which may be as small as a header.  A new arena
 * is asked for with the alignment added to the size, before rounding.
 *
 * FREEING.  The block is marked free.  If it is the last of all blocks, the current address goes
 * back below it, and below every free block that is last then; an arena left without a block is
 * given back to the page source, and the one below it is the newest again.  So blocks may be
 * freed in any order, and what is freed can be had again as soon as all that was allocated after
 * it is free as well; an empty heap holds no pages.
 *
 * RESIZING.  The last of all blocks is made larger or smaller where it lies if its arena's end
 * leaves room.  Any other block, and the last one without that room, stays as it is if it is large
 * enough for the new size; otherwise a new block is allocated, the payload copied, and the old
 * block freed.
 *
 * MARKS.  mem_mark notes which block is the last; mem_rewind frees every block allocated after it,
 * live or not, whatever their number.  When the block noted has been freed meanwhile, it goes too,
 * as when freed last.  mem_reset frees all blocks.  A mark is good for any number of rewinds, until
 * the heap falls below it: by a rewind to an earlier mark, or by freeing or moving the block that
 * it notes while that is the last one.  A rewind to a mark that is no longer good is undefined.
 *
 * COSTS.  alloc: constant, and one request for pages for each arena.  resize: the same, plus the
 * copy.  free: constant, taken over as many frees as there were allocations.  mark: constant.
 * rewind, reset: one step for each arena given back, none for a block.  Overhead: 16 bytes a
 * block, 32 an arena.
 *
 * GOOD at work in phases, where all that a phase allocates ends with it (a request, a frame, a
 * compilation unit): nothing is searched, neighbours in time are neighbours in memory.  BAD where
 * lifetimes cross: one live block holds the room of all that were freed below it.
 *
 * FIT.  A request is served without new pages if and only if it fits, with what its alignment
 * leaves out below it, between the current address and the end of the newest arena.
 *
 * MISUSE.  Undefined.
 *
 * mem_walk shows, of each arena, the blocks and then the room above them, if any, as a free block.
 *
 * Not thread-safe.
 */
#ifndef BUMP_H
#define BUMP_H

#include "mem.h"

struct bump_arena;
struct bump_block;

struct mem_heap {
    struct page_source *pages;
    struct bump_arena *newest; /* NULL while nothing is allocated */
};

/* A place in the row of allocations to come back to; a plain value. */
struct mem_mark {
    struct bump_block *last;
};

/* The heap as it stands.  Never fails. */
struct mem_mark mem_mark(const struct mem_heap *heap);

/* Frees all blocks allocated since the mark was taken.  Keeps errno. */
void mem_rewind(struct mem_heap *heap, struct mem_mark mark);

/* Frees all blocks.  Keeps errno. */
void mem_reset(struct mem_heap *heap);

/* What mem_check looks at, in this order, of the newest arena first:
 *   "tiling"         every size is a multiple of 16, at least 16 (32 of a used block), and the
 *                    blocks end at the current address, which is not above the end
 *   "tags"           each block knows the one below it, and the arena its last one
 *   "adjacent_free"  a free block is not last in the newest arena, where it and the room would be
 *                    two free neighbours, and the newest arena has a block
 */
#endif
