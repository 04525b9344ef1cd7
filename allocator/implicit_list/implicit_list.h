/* implicit_list: boundary tags and nothing else.  There is no list: whoever looks for a free block
 * walks through all blocks, used and free, by the sizes in their headers.
 *
 * A block is two tags with the payload between them; a tag is the block's size with the lowest
 * bit set while the block is used.  Sizes count both tags and are multiples of 16, at least 32.
 * Blocks start at 8 modulo 16, so that payloads are 16-byte aligned.
 *
 *      used   | size+1 | payload, 16-byte aligned ........................ | size+1 |
 *      free   | size   | whatever the payload left ....................... | size   |
 *             ^ block  ^ block+8          block+size-8 ^          the next block ^
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
 * a multiple of 16).  Where the search starts, and what it does when it finds nothing, is chosen
 * when the heap is opened:
 *   first fit (mem_open)  From the lowest block upwards; the first free block that is large
 *     enough is taken.
 *   next fit (mem_open_next_fit)  The same from the rover upwards, and then from the lowest block
 *     up to the rover.
 *   deferred (mem_open_deferred)  First fit, with the merging put off; see COALESCING.
 * The lower part of the block taken is used; a rest of 32 bytes or more becomes a free block, a
 * smaller rest stays with the used block.
 *
 * THE ROVER stands at a block, or nowhere before the first request (the search then starts at
 * the lowest).  Only two things move it:
 *   - A search that finds a block moves it there: to the block in which the request is then
 *     placed, used from there on.  (For a request at an alignment, if there is room below the
 *     payload: to that room, which is freed again.)
 *   - When the block at which it stands becomes part of another one, because it is merged with
 *     its lower neighbour or because a resized block below grows over it, it moves down to the
 *     beginning of that block.
 * It stays where it is when its block is freed, or takes in what lies above.
 *
 * COALESCING.  First fit and next fit merge a freed block with its free neighbours at once; a rest
 * that is split off, and new memory with a free last block, likewise.  Deferred, a block is only
 * marked free: freed blocks, rests and new memory stay as they are beside free neighbours.  When a
 * search finds nothing, one sweep from the lowest block up makes each run of free neighbours one
 * block, and the search is made once more; it is before pages are asked for that this happens, and
 * again after each grant of pages if what they bring is too small by itself.
 *
 * GROWTH.  When no free block is large enough, the heap asks for what is missing: the needed size
 * less the size of the last block if that one is free, rounded up to a multiple of 4096.  The
 * first request of all asks for 32 bytes more (the fences).  Behind a gap a new row of blocks
 * starts, at the first multiple of 16 in the new memory.  The upper fence ends at the last
 * multiple of 16; what is left above it, up to 15 bytes, joins the memory granted next if that
 * follows on.  Then the search starts anew; the heap asks again while it finds nothing.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  A larger one takes, by the
 * rules above, a free block of at least block_size(n) + alignment + 16 bytes; the payload is the
 * lowest aligned address in it that leaves no room, or at least 32 bytes, below; that room
 * and the rest above become free blocks.
 *
 * RESIZING.  When the block together with the one free block above it, if there is one, is large
 * enough, it stays where it is and takes what it needs from the two; a rest of 32 bytes or more
 * becomes a free block, a smaller rest stays with the used block.  Otherwise a new block is
 * allocated, the payload copied, and the old block freed.  (Deferred, what lies free above that
 * one block is not looked at.)
 *
 * FIT.  A request is served without new pages exactly if one free block, or a run of free
 * neighbours where merging is deferred, has block_size(n) bytes, or block_size(n) + alignment + 16
 * for an alignment over 16.
 *
 * COSTS.  alloc: linear in the number of all blocks, used ones too.  free: constant.  resize: as
 * alloc, plus the copy.  Overhead: 16 bytes a block.
 *
 * GOOD AT being small: some fifty lines beside the tags.  A heap of a few dozen blocks needs no
 * more.  Deferred merging spares programs that free and ask again for the same sizes the
 * splitting of what they have just merged.
 * BAD AT many blocks: a full heap is walked from end to end by each request that fails.  First
 * fit piles up small rests at the lower end, where each search meets them first; next fit does
 * not, but spreads blocks over the heap and has more fragmentation (Wilson et al. 1995, 3.4).
 *
 * MISUSE.  Freeing or resizing a block that has been freed, with no allocation in between, is
 * detected and ends in abort().  Any other misuse is undefined.
 *
 * Not thread-safe.  Never gives memory back to the page source.
 */
#ifndef IMPLICIT_LIST_H
#define IMPLICIT_LIST_H

#include "mem.h"

enum mem_policy { MEM_FIRST_FIT = 0, MEM_NEXT_FIT, MEM_DEFERRED };

/* The header of a block. */
struct mem_node {
    size_t tag;
};

struct mem_heap {
    struct page_source *pages;
    char *first;            /* the lowest block, or NULL before the first growth */
    char *end;              /* the upper fence */
    char *limit;            /* the first byte beyond the memory granted last */
    char *rover;            /* next fit: where the search starts; else, and at first, NULL */
    enum mem_policy policy;
};

/* mem_open for the other two policies. */
void mem_open_next_fit(struct mem_heap *heap, struct page_source *pages);
void mem_open_deferred(struct mem_heap *heap, struct page_source *pages);

/* What mem_check looks at, in this order:
 *   "tiling"         every size is a multiple of 16, at least 32, and the blocks end at the fence
 *   "tags"           each block's header and footer agree; both fences say "used"
 *   "adjacent_free"  no two neighbours are both free; not where merging is deferred: there it
 *                    holds only right after a sweep
 *   "free_list"      the rover stands at a block
 */
#endif
