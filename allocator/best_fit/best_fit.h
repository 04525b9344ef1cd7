/* best_fit: boundary tags, an explicit free list, best fit, immediate coalescing both ways.
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
 * a multiple of 16).  The smallest free block that is large enough is taken; among equals, the
 * one at the lowest address.  Its lower part is used; a rest of 32 bytes or more becomes a free
 * block of its own, a smaller rest stays with the used block.
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
 * COSTS.  free: constant.  alloc: linear in the number of free blocks.  resize: as alloc, plus
 * the copy.  Overhead: 16 bytes a block.
 *
 * MISUSE.  Freeing or resizing a block that has been freed, with no allocation in between, is
 * detected and ends in abort().  Any other misuse is undefined.
 *
 * Not thread-safe.  Never gives memory back to the page source.
 */
#ifndef BEST_FIT_H
#define BEST_FIT_H

#include <stddef.h>

#include "page_source.h"

struct mem_node;

struct mem_heap {
    struct page_source *pages;
    char *first;            /* the lowest block, or NULL before the first growth */
    char *end;              /* the upper fence */
    char *limit;            /* the first byte beyond the memory granted last */
    struct mem_node *free_list;
};

/* Starts an empty heap; asks for no pages yet.  Never fails. */
void mem_open(struct mem_heap *heap, struct page_source *pages);

/* A block of at least `size` bytes, 16-byte aligned, contents unspecified.  A request of 0 bytes
 * is served like one of 1, by a block of its own.  Returns NULL and sets errno to ENOMEM if and
 * only if no free block is large enough and the page source refuses, or size exceeds
 * PTRDIFF_MAX; the heap's blocks are then as they were. */
void *mem_alloc(struct mem_heap *heap, size_t size);

/* The same for count * size bytes, all zero; NULL and ENOMEM also when the product overflows. */
void *mem_alloc_clear(struct mem_heap *heap, size_t count, size_t size);

/* The same at a multiple of `alignment`, a power of two; NULL and EINVAL for any other.  An
 * alignment over PTRDIFF_MAX / 2 is refused like a size over PTRDIFF_MAX. */
void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size);

/* Changes the block's size, keeping its first min(old, new) bytes; the block may move.  NULL is
 * served like mem_alloc.  On failure returns NULL with ENOMEM; the block is then untouched. */
void *mem_resize(struct mem_heap *heap, void *payload, size_t size);

/* Frees the block and merges it with its free neighbours.  NULL is allowed.  Keeps errno. */
void mem_free(struct mem_heap *heap, void *payload);

/* The bytes that may be used at `payload`: the block's size less its tags. */
size_t mem_usable_size(const void *payload);

/* One block as mem_walk shows it; addresses are those of the header tag. */
struct mem_block {
    char *address;
    size_t size;
    size_t used; /* 1 or 0 */
};

/* Writes up to `capacity` blocks, from the lowest up (gaps among them as used blocks), and
 * returns how many there are.  Stops at a block whose size cannot be. */
size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity);

/* The validity predicate.  NULL for a valid heap, else the name of the first conjunct broken:
 *   "tiling"         every size is a multiple of 16, at least 32, and the blocks end at the fence
 *   "tags"           each block's header and footer agree; both fences say "used"
 *   "adjacent_free"  no two neighbours are both free
 *   "free_list"      the list holds each free block exactly once, linked both ways */
const char *mem_check(const struct mem_heap *heap);

#endif
