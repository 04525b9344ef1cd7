/* sbrk_list: one list of all blocks on the program break, first fit, freed memory goes back.
 *
 * A block is a header of 16 bytes and the payload behind it.  The header holds the block's size
 * with the lowest bit set while the block is used, and a link to the next block further up.
 * Sizes count the header and are multiples of 16, at least 32.  Blocks and payloads start at
 * multiples of 16.
 *
 *      used   | size+1 | next | payload, 16-byte aligned .................. |
 *      free   | size   | next | whatever the payload left ................. |
 *             ^ block         ^ block+16                                    ^ block+size
 *
 * All blocks, used and free, hang in this one list, from the lowest up.  Those that lie in one
 * piece of memory without a gap are a row; the next block starts where the one before it ends:
 *
 *      | block -|-> block -|-> block -|-> block -|--> ... somebody else's ... --> | block -|-> 0
 *      ^ heap->first                                                  heap->row ^          ^
 *                                                           heap->top and heap->limit -----'
 *
 * When the page source returns memory further up, because somebody else took what lay between, a
 * new row starts there, and the link of the last block just points across the gap: a gap costs
 * nothing and needs no fence.  Only the last row can be given back; blocks of the rows below stay
 * in the heap for good, and serve requests like any others.
 *
 * PLACEMENT.  A request of n bytes needs a block of block_size(n) = max(32, n rounded up to a
 * multiple of 16, + 16).  The list is searched from the lowest block up, and the first free block
 * that is large enough is taken.  Merging happens here, not in free: before a free block is
 * measured, it is joined with all free blocks that follow it without a gap; those above the block
 * that is taken are not looked at, and stay as they are.  The lower part of the block is used; a
 * rest of 32 bytes or more becomes a free block of its own, a smaller rest stays with the used
 * block.
 *
 * GROWTH.  When no free block is large enough, the heap asks for the bytes that a new block
 * behind heap->top needs, no more (free memory below heap->top is not counted on).  Where the new
 * memory follows on heap->limit it belongs to the last row; elsewhere it starts a new row, whose
 * first block lies at its first multiple of 16.  The heap asks again for what is still missing:
 * the bytes lost to alignment.  When that is refused, what it took goes back at once.
 *
 * GIVING BACK.  Whenever an operation has left free memory, and no used block lies above that,
 * the break is lowered to the end of the last used block of the last row, or to where the page
 * source began the row if no block of it is used: all free blocks at the end go, not only the
 * last one.  When the page source refuses, because somebody else has moved the break, they stay
 * where they are as free blocks.  The break is never lowered below the last row: what lies under
 * it is somebody else's.  So once every block is freed nothing is held, unless others have moved
 * the break.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  A larger one takes, by the
 * rules above, a block of at least block_size(n) + alignment + 16 bytes; the payload is the
 * lowest aligned address in it that leaves no room, or at least 32 bytes, below; that room and
 * the rest above (32 bytes or more) become free blocks, and a rest at the end goes back.
 *
 * RESIZING.  When the block together with all free blocks that follow it without a gap is large
 * enough, it stays where it is and takes what it needs from them; a rest of 32 bytes or more
 * becomes one free block, or goes back, a smaller rest stays with the used block.  Otherwise a
 * new block is allocated, the payload copied, and the old block freed.
 *
 * COSTS.  alloc and aligned alloc: linear in the number of blocks, used ones too, and a system
 * call when nothing fits.  free: constant while the next block is used, else linear in the free
 * ones that follow; linear in all, and a system call, when no used one does.  resize: as alloc,
 * plus the copy.  Overhead: 16 bytes a block.
 *
 * GOOD AT.  Being understood: one struct, one list, one bit.  Programs that free in the reverse
 * order of allocation, or keep few blocks, hold no byte more than they use.
 *
 * BAD AT.  Many blocks: every allocation walks over all of them.  One used block at the end keeps
 * everything below it from going back.  A program that allocates and frees at the end moves the
 * break each time.
 *
 * MISUSE.  Freeing a block twice, or an address that is none of a block, is undefined and not
 * detected: the header may have gone back with the break.
 *
 * Not thread-safe.
 */
#ifndef SBRK_LIST_H
#define SBRK_LIST_H

#include "mem.h"

struct mem_node;

struct mem_heap {
    struct page_source *pages;
    struct mem_node *first; /* the lowest block */
    char *row;              /* where the page source began the last row */
    char *top;              /* where the next block begins: a multiple of 16 */
    char *limit;            /* the first byte beyond the memory granted last */
};

/* FIT RELATION.  A request is served without new pages exactly if some run of free blocks that
 * follow each other without a gap adds up to block_size(n), or to block_size(n) + alignment + 16
 * for an alignment over 16.
 *
 * What mem_check looks at:
 *   "tiling"  every size is a multiple of 16, at least 32; each block starts at a multiple of 16,
 *             no lower than the end of the one before it, and in the last row exactly there; the
 *             last block ends at heap->top, which heap->limit is not below unless the row is empty
 */
#endif
