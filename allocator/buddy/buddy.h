/* buddy: the binary buddy system; blocks of 2^k bytes, split in halves and merged with them.
 *
 * A block of order k has 2^k bytes, k at least 5, and lies at a multiple of 2^k from the start of
 * its region.  Splitting it makes two blocks of order k - 1, each the other's buddy: their offsets
 * differ in bit k - 1 alone, so that the buddy's place is found by one exclusive or.
 *
 *      offset  0                                     2^k
 *              |               order k               |
 *              |    order k - 1   |    order k - 1   |
 *              |   k-2   |   k-2  |   k-2   |   k-2  |
 *
 * A block is all payload.  What is known of it stands in a table at the lower end of the region,
 * one byte for each 32 bytes: a byte is the order of the block that starts there, with the highest
 * bit set while it is used, and 0 where no block starts.  A free block holds two links.
 *
 *      | unused | region header, table | blocks: 2^r bytes, r the region's order |
 *      ^ mapped                        ^ start, a multiple of 4096
 *
 *      used   | payload .......................................... |
 *      free   | next | previous | whatever the payload left ...... |
 *
 * There is one list of free blocks for each order, over all regions; the block that became free
 * last is first.
 *
 * PLACEMENT.  A request of n bytes needs order(n): the smallest k with 2^k >= n, at least 5.  The
 * first block of the lowest order that has a free block, from order(n) up, is taken.  While it is
 * too large it is split; the lower half is kept, the upper half becomes free.
 *
 * GROWTH.  When no list serves the request, a region is mapped: 40 bytes and the table of
 * 2^(r - 5), rounded up to a multiple of 4096, and the 2^r bytes.  The smallest r that will do is
 * the order needed, at least 14; the first one asked for is the greater of that and the order of
 * the largest power of two that is not greater than the blocks of all regions together.  While it
 * is refused the next lower one is asked for, down to the smallest that will do.  When that is
 * refused too and a region is wholly free, which does not serve the request, it is given back, and
 * the smallest that will do is asked for once more.
 *
 * ALIGNED ALLOCATION.  A block is aligned to its size or to 4096, whichever is less.  So an
 * alignment 2^a of at most 4096 takes, by the rules above, the first block of order max(order(n),
 * a) or more, and splits it to order(n).  A larger alignment takes the first block that lies at a
 * multiple of it, from order max(order(n), 12) up.  Where there is none, the region that is mapped
 * has 2^a - 4096 bytes more; its start is the lowest multiple of 2^a that leaves room for header
 * and table below; the pages above the blocks are given back at once, those below header and table
 * stay unused.
 *
 * FREEING.  While the block's buddy is free and of the same order, the two become one block of the
 * next order.  When that is a whole region and another one is wholly free already, it is given back
 * to the page source; a single wholly free region stays.
 *
 * RESIZING.  To a lower order the block is split where it lies, as in PLACEMENT.  To a higher one
 * it grows where it lies if at each order on the way it is the lower half and the upper half is one
 * free block.  Otherwise a new block is allocated, the payload copied, and the old block freed.
 *
 * COSTS.  alloc, free, resize: one step for each order, at most 58, and one for each region, of
 * which there are few since each is as large as all before it where memory allows; resize: the
 * copy too.  Above an alignment of 4096 alloc is linear in the number of free blocks.  Overhead:
 * 1/32 of a region and a page.  A request of 2^k bytes wastes nothing, one of 2^k + 1 nearly half.
 *
 * GOOD at requests of powers of two, at alignment, and at bounded time.  BAD at all other sizes: a
 * quarter of the memory is lost inside blocks on average; and two free neighbours that are no
 * buddies stay apart.
 *
 * FIT.  A request is served without new pages if and only if there is a free block as PLACEMENT or
 * ALIGNED ALLOCATION wants it.
 *
 * MISUSE.  Freeing or resizing what is not the address of a live block is detected by the table and
 * ends in abort(): a block freed already, an address within a block, any other address.
 *
 * Not thread-safe.
 */
#ifndef BUDDY_H
#define BUDDY_H

#include "mem.h"
#include "parts/links.h"

/* The order of the smallest region; the proofs take less, with smaller pages. */
#ifndef BUDDY_FIRST
#define BUDDY_FIRST 14
#endif
enum { BUDDY_ORDERS = 64 };

struct buddy_region;

struct mem_heap {
    struct page_source *pages;
    struct buddy_region *regions; /* from the lowest up */
    struct links *free[BUDDY_ORDERS];
};

/* What mem_check looks at, region by region, then list by list:
 *   "tiling"         every block's order is 5 at least, its offset is a multiple of its size, and
 *                    the blocks end at the region's end
 *   "tags"           the table says 0 wherever no block starts
 *   "adjacent_free"  no two buddies are free and of the same order
 *   "free_list"      each list holds each free block of its order exactly once, linked both ways
 */
#endif
