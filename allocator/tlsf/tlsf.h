/* tlsf: two-level segregated fit.  Free blocks in lists by class of size, found through bitmaps in
 * a bounded number of steps; good fit; immediate coalescing both ways.
 *
 * A block is a head and the payload behind it.  The head is the block's size with two flags: F,
 * this block is free; B, the block below is free.  Sizes count the head and are multiples of 16,
 * at least 32.  Blocks start at 8 modulo 16, so that payloads are 16-byte aligned.
 *
 *      used   | size+B | payload, 16-byte aligned .............................. |
 *      free   | size+F | next | previous | whatever the payload left ... | start |
 *             ^ block  ^ block+8                                         ^ block+size-8
 *
 * The last word of a free block is a pointer to its start.  It is there for the block above, which
 * looks at it only if its own B is set; in a used block the same word belongs to the payload.  A
 * free block never has B: it would have been merged.
 *
 * The heap is one row of blocks.  The 8 bytes below the first block are not used; above the last
 * block lies a fence, a head of size 0 without F.  The heap grows at its upper end only.  When the
 * page source returns memory further up, because somebody else took what lay between, the gap
 * becomes a used block that is never freed: its head is the old fence.
 *
 * CLASSES.  Sizes below 256 have a class for each multiple of 16: first level 0, second level
 * size / 16.  Above, the first level is a power of two, 2^f <= size < 2^(f+1), and the second level
 * cuts it into 16 equal parts of 2^(f-4) bytes.  Classes below 512 bytes thus hold one size each.
 * There are classes for every size up to 2^64: none is too large to have one.  Bit j of
 * second_map[i] is set while the list of class (i, j) has a member, bit i of first_map while
 * second_map[i] is not 0.
 *
 * PLACEMENT.  A request of n bytes needs a block of block_size(n) = max(32, n + 8 rounded up to a
 * multiple of 16).  For the search this is rounded up to the least size of a class, class_up(n):
 * any block of that class or a higher one is large enough then, without looking at it.  The lowest
 * class from there on that has a member gives the block, the one that entered its list last.  A
 * block enters the list of its class when it becomes free, and again each time it merges.  The
 * lower part is used; a rest of 32 bytes or more becomes a free block of its own, a smaller rest
 * stays with the used block.
 *
 * FIT RELATION.  A request is served without new pages if and only if there is a free block of
 * class_up(block_size(n)) bytes, or for a larger alignment class_up(block_size(n) + alignment +
 * 16).  A free block may be there that is large enough but smaller than that, by less than 1/16:
 * it is not taken, and the heap asks for pages; NULL follows if they are refused.
 *
 * GROWTH.  When no free block fits, the heap asks for what is missing: the size searched for, less
 * the size of the last block if that one is free, rounded up to a multiple of 4096.  The first
 * request of all asks for 16 bytes more (the word below, the fence).  New memory joins a free last
 * block.  Behind a gap the row goes on 8 bytes above the first multiple of 16 in the new memory.
 * The fence is the second half of the last whole 16-byte line; what is left above it, up to 15
 * bytes, joins the memory granted next if that follows on.  The heap asks again while it is still
 * too small.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  A larger one takes, by the
 * rules above, a free block that fits block_size(n) + alignment + 16 bytes; the payload is the
 * lowest aligned address in it that leaves no room, or at least 32 bytes, below.  First the rest
 * above becomes a free block, as for any request, then the room below.
 *
 * RESIZING.  When the block together with a free upper neighbour, if it has one, is large enough
 * (block_size, not rounded to a class), it stays where it is and takes what it needs from the two;
 * a rest of 32 bytes or more becomes a free block, a smaller rest stays with the used block.
 * Otherwise a new block is allocated, the payload copied, and the old block freed.
 *
 * COSTS.  alloc and free: constant, whatever the heap holds, but for the page source.  resize: as
 * alloc, plus the copy.  Overhead: 8 bytes a block, 7 KiB a heap.
 *
 * GOOD AT real time: the worst case is the usual case.  BAD AT tight memory: requests of 512 bytes
 * and more pass over blocks that would do, and the tables cost more than a small heap.
 *
 * MISUSE.  Freeing or resizing a block that has been freed, with no allocation in between, is
 * detected and ends in abort().  Any other misuse is undefined.
 *
 * Not thread-safe.  Never gives memory back to the page source.
 */
#ifndef TLSF_H
#define TLSF_H

#include <stdint.h>

#include "mem.h"

struct links;

/* The second level has 2^TLSF_SECOND_BITS classes, at most 16.  With fewer, what is said above of
 * 256, 16 and 4 holds of 16 * 2^b, 2^b and b; the proofs take 1, to have fewer lists to look at. */
#ifndef TLSF_SECOND_BITS
#define TLSF_SECOND_BITS 4
#endif
enum { SECOND_BITS = TLSF_SECOND_BITS, SECOND_LEVELS = 1 << SECOND_BITS };
enum { FIRST_LEVELS = 61 - SECOND_BITS };

struct mem_heap {
    struct page_source *pages;
    char *first; /* the lowest block, or NULL before the first growth */
    char *end;   /* the fence */
    char *limit; /* the first byte beyond the memory granted last */
    uint64_t first_map;
    uint16_t second_map[FIRST_LEVELS];
    struct links *lists[FIRST_LEVELS][SECOND_LEVELS];
};

/* What mem_check looks at, in this order:
 *   "tiling"         every size is a multiple of 16, at least 32, and the blocks end at the fence
 *   "tags"           B says of each block, and of the fence, whether the block below is free; the
 *                    last word of each free block points to its start; the fence is not free
 *   "adjacent_free"  no two neighbours are both free
 *   "free_list"      each list holds free blocks of its class, linked both ways, all of them
 *                    together each free block once; both bitmaps say which lists have members
 */
#endif
