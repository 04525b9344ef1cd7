/* explicit_list: boundary tags, a doubly linked list through the free blocks, first fit along it,
 * immediate coalescing both ways.
 *
 * A block is two tags with the payload between them; a tag is the block's size with the lowest
 * bit set while the block is used.  Sizes count both tags and are multiples of 16, at least 32.
 * Blocks start at 8 modulo 16, so that payloads are 16-byte aligned.
 *
 *      used   | size+1 | payload, 16-byte aligned ........................ | size+1 |
 *      free   | size   | next | previous | whatever the payload left ..... | size   |
 *             ^ block  ^ block+8                                           ^ block+size-8
 *
 * The heap is one row of blocks between two fences.  A fence is a tag that says "used", so that
 * a merge never looks beyond the heap:
 *
 *      | fence | block | block | block | ... | fence |
 *        ^ the used footer before heap->first  ^ heap->end, the header of a block of size 0
 *
 * The heap grows at its upper end only.  When the page source returns memory further up, because
 * somebody else took what lay between, the gap becomes a used block that is never freed: its
 * header is the old upper fence, its footer lies in the first 16-byte line of the new memory.
 *
 * PLACEMENT.  A request of n bytes needs a block of block_size(n) = max(32, n + 16 rounded up to
 * a multiple of 16).  The list is searched from its head, and the first block that is large
 * enough is taken: first fit.  Its lower part is used; a rest of 32 bytes or more becomes a free
 * block of its own, a smaller rest stays with the used block.
 *
 * ORDER OF THE LIST, chosen when the heap is opened.
 *   LIFO (mem_open)  A block enters at the head: last in, first out.
 *   Address order (mem_open_address_ordered)  A block enters behind all that lie below it: the
 *     list always runs from the lowest free block to the highest.
 * A block enters the list each time a free block comes to be, and it leaves when it is taken or
 * merged.  So, in LIFO order:
 *   - A freed block and its free neighbours leave, and what they merge to enters at the head:
 *     wherever in the list the neighbours were, the merged block is the first to be looked at.
 *   - A rest that is split off is a block freed there and then: it enters at the head, and does
 *     not keep the place of the block it was cut from.
 *   - A request at an alignment frees the rest above first, and then the room below, which so
 *     is the head.
 *   - New memory enters at the head, merged with the last block if that is free.
 * These are the meanings of CS:APP 9.9.13 and of Wilson et al. 1995, 3.5.  Some notes swap the
 * two names, or call it LIFO when blocks enter at the tail and leave at the head (that is FIFO,
 * a third order), or call address order what is meant to say that the blocks of an implicit
 * list follow one another in memory.  That a LIFO list cannot merge without a search is another
 * error: it can, by the tags.
 *
 * GROWTH.  When no free block is large enough, the heap asks for what is missing: the needed size
 * less the size of the last block if that one is free, rounded up to a multiple of 4096.  The
 * first request of all asks for 32 bytes more (the fences).  New memory joins a free last block.
 * Behind a gap a new row of blocks starts, at the first multiple of 16 in the new memory.  The
 * upper fence ends at the last multiple of 16; what is left above it, up to 15 bytes, joins the
 * memory granted next if that follows on.  The heap asks again while it is still too small.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  A larger one takes, by the
 * rules above, a free block of at least block_size(n) + alignment + 16 bytes; the payload is the
 * lowest aligned address in it that leaves no room, or at least 32 bytes, below; that room
 * and the rest above become free blocks.
 *
 * RESIZING.  When the block together with a free upper neighbour, if it has one, is large enough,
 * it stays where it is and takes what it needs from the two; a rest of 32 bytes or more becomes a
 * free block, a smaller rest stays with the used block.  Otherwise a new block is allocated, the
 * payload copied, and the old block freed.
 *
 * FIT.  A request is served without new pages exactly if one free block has block_size(n) bytes,
 * or block_size(n) + alignment + 16 for an alignment over 16.
 *
 * COSTS.  alloc: linear in the number of free blocks.  free: constant in LIFO order, linear in the
 * number of free blocks in address order.  resize: as alloc and free, plus the copy.  Overhead:
 * 16 bytes a block.
 *
 * GOOD AT programs with few free blocks at a time, however many are used: the search sees no used
 * block.  LIFO order gives back at once what was freed last, while it is still in the cache.
 * Address order packs the heap from below; its fragmentation comes close to that of best fit.
 * BAD AT many small free blocks: a search wades through all that are too small, and LIFO order
 * leaves them where they happen to lie.  No bound on the time of a request.
 *
 * MISUSE.  Freeing or resizing a block that has been freed, with no allocation in between, is
 * detected and ends in abort().  Any other misuse is undefined.
 *
 * Not thread-safe.  Never gives memory back to the page source.
 */
#ifndef EXPLICIT_LIST_H
#define EXPLICIT_LIST_H

#include "mem.h"

/* The header of a block; the links are there only while the block is free. */
struct mem_node {
    size_t tag;
    struct mem_node *next;
    struct mem_node *previous;
};

struct mem_heap {
    struct page_source *pages;
    char *first;            /* the lowest block, or NULL before the first growth */
    char *end;              /* the upper fence */
    char *limit;            /* the first byte beyond the memory granted last */
    struct mem_node *free_list;
    int address_ordered;
};

/* mem_open, with the list in address order. */
void mem_open_address_ordered(struct mem_heap *heap, struct page_source *pages);

/* What mem_check looks at, in this order:
 *   "tiling"         every size is a multiple of 16, at least 32, and the blocks end at the fence
 *   "tags"           each block's header and footer agree; both fences say "used"
 *   "adjacent_free"  no two neighbours are both free
 *   "free_list"      the list holds each free block exactly once, linked both ways; in address
 *                    order it runs upwards
 */
#endif
