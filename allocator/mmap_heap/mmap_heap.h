/* mmap_heap: mapped regions, first fit, blocks merged both ways, empty regions returned at once.
 *
 * A region is a piece of memory of its own, mapped when it is needed and unmapped when nothing in
 * it is used.  It starts with a header of 16 bytes, the link to the next region further up and
 * the region's size; blocks fill the rest, to its last byte:
 *
 *      | next | size | block | block | block | ... | block |
 *      ^ region: a multiple of 4096                        ^ region+size
 *
 * A block is a header of 16 bytes and the payload behind it.  The header holds the block's size,
 * which leads to the block above, with the lowest bit set while the block is used; and a link to
 * the block below, NULL for the lowest of its region.  So the blocks of a region are a list that
 * is linked both ways.  Sizes count the header and are multiples of 16, at least 32.  Blocks and
 * payloads start at multiples of 16.
 *
 *      used   | size+1 | below | payload, 16-byte aligned ................. |
 *      free   | size   | below | whatever the payload left ................ |
 *             ^ block          ^ block+16                                   ^ block+size
 *
 * Blocks of two regions have nothing to do with each other, even where the page source has put
 * one region right behind the other.
 *
 * STARTING.  mem_open maps nothing.  mem_initialise maps the first region, of as many bytes as it
 * is told, so that early requests need no pages; from then on both heaps are the same.
 *
 * PLACEMENT.  A request of n bytes needs a block of block_size(n) = max(32, n rounded up to a
 * multiple of 16, + 16).  The free block at the lowest address that is large enough is taken, so
 * that regions further up run empty.  Its lower part is used; a rest of 32 bytes or more becomes
 * a free block of its own, a smaller rest stays with the used block.
 *
 * GROWTH.  When no free block is large enough, a region is mapped: of 16384 bytes, or, where a
 * region's header and the block need more, of that much, rounded up to a multiple of 4096.  When
 * 16384 bytes are refused, and the header and the block need less, the heap asks once more, for
 * what they need, rounded up to a multiple of 4096.
 *
 * GIVING BACK.  A freed block is merged with its free neighbours in the region.  When that leaves
 * the region without a used block, the region is unmapped, at once, and with it each other region
 * without a used block (there is at most one: the one of mem_initialise, not used so far).  So
 * once every block is freed nothing is held.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  A larger one takes, by the
 * rules above, a free block of at least block_size(n) + alignment + 16 bytes; the payload is the
 * lowest aligned address in it that leaves no room, or at least 32 bytes, below; that room and
 * the rest above (32 bytes or more) become free blocks.
 *
 * RESIZING.  When the block together with a free upper neighbour, if it has one, is large enough,
 * it stays where it is and takes what it needs from the two; a rest of 32 bytes or more becomes a
 * free block, a smaller rest stays with the used block.  Otherwise a new block is allocated, the
 * payload copied, and the old block freed.
 *
 * COSTS.  alloc and aligned alloc: linear in the number of blocks, used ones too.  free: linear
 * in the number of regions, plus a system call when a region runs empty.  resize: as free, or as
 * alloc plus the copy and free.  Overhead: 16 bytes a block, and 16 bytes a region.
 *
 * GOOD AT.  Giving memory back: a region goes as soon as its blocks are gone, wherever it lies,
 * where a heap on the program break can only be cut at its end.  Sharing the process with others:
 * it never touches the break.
 *
 * BAD AT.  One small block that comes and goes alone: each time a region is mapped and unmapped.
 * One small block that stays keeps its whole region.  Many blocks: a search walks over all.
 *
 * MISUSE.  Freeing a block twice, or an address that is none of a block, is undefined and not
 * detected: the header may have gone with its region.
 *
 * Not thread-safe.
 */
#ifndef MMAP_HEAP_H
#define MMAP_HEAP_H

#include <stdbool.h>

#include "mem.h"

struct mem_region;

struct mem_heap {
    struct page_source *pages;
    struct mem_region *regions; /* the lowest region */
};

/* Starts a heap like mem_open and maps its first region: `size` bytes, rounded up to a multiple
 * of 4096, the region's header among them.  False when that is refused, or when size exceeds
 * PTRDIFF_MAX; the heap is then as after mem_open, and may be used. */
bool mem_initialise(struct mem_heap *heap, struct page_source *pages, size_t size);

/* FIT RELATION.  A request is served without new pages exactly if one free block has at least
 * block_size(n) bytes, or block_size(n) + alignment + 16 for an alignment over 16.
 *
 * What mem_check looks at, region by region from the lowest up:
 *   "tiling"         regions lie one above the other and are multiples of 4096 long; a block's size
 *                    is a multiple of 16, at least 32; the blocks end where their region does
 *   "tags"           each block's link names the block right below it, NULL in the lowest
 *   "adjacent_free"  no two neighbours in a region are both free
 */
#endif
