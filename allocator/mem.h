/* mem.h: the functions that every bundled allocator has, and what they promise.
 *
 * An allocator's own header defines struct mem_heap, and says where blocks lie, how they grow and
 * what its validity predicate looks at.  A program holds one allocator at a time: all of them
 * define the same names, so that one can stand in for another.
 *
 * None of them is thread-safe.  All requests are refused over PTRDIFF_MAX bytes.
 */
#ifndef MEM_H
#define MEM_H

#include <stddef.h>

#include "page_source.h"

struct mem_heap;

/* Starts an empty heap.  Asks for no pages yet, and never fails. */
void mem_open(struct mem_heap *heap, struct page_source *pages);

/* A block of at least `size` bytes, 16-byte aligned, contents unspecified.  A request of 0 bytes
 * is served like one of 1, by a block of its own.  Returns NULL and sets errno to ENOMEM if and
 * only if no free block serves the request (the header says which do) and the page source
 * refuses, or size exceeds PTRDIFF_MAX; all blocks are then as they were. */
void *mem_alloc(struct mem_heap *heap, size_t size);

/* The same for count * size bytes, all zero; NULL and ENOMEM also when the product overflows. */
void *mem_alloc_clear(struct mem_heap *heap, size_t count, size_t size);

/* The same at a multiple of `alignment`, a power of two; NULL and EINVAL for any other.  An
 * alignment over PTRDIFF_MAX / 2 is refused like a size over PTRDIFF_MAX. */
void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size);

/* Changes the block's size, keeping its first min(old, new) bytes; the block may move.  NULL is
 * served like mem_alloc.  On failure returns NULL with ENOMEM; the block is then untouched. */
void *mem_resize(struct mem_heap *heap, void *payload, size_t size);

/* Frees the block.  NULL is allowed.  Keeps errno. */
void mem_free(struct mem_heap *heap, void *payload);

/* The bytes that may be used at `payload`, at least those asked for; 0 for NULL. */
size_t mem_usable_size(const struct mem_heap *heap, const void *payload);

/* One block as mem_walk shows it: where it starts, what it spans, its overhead included. */
struct mem_block {
    char *address;
    size_t size;
    size_t used; /* 1 or 0 */
};

/* Writes up to `capacity` blocks, from the lowest up, and returns how many there are.  Stops at
 * a block whose size cannot be. */
size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity);

/* The validity predicate: NULL for a valid heap, else the name of the first conjunct broken:
 * "tiling", "tags", "adjacent_free", "free_list" or "checksum", as the allocator's header declares
 * them. */
const char *mem_check(const struct mem_heap *heap);

#endif
