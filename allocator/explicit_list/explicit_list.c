/* The implementation of explicit_list.h, where the contract and the pictures are.
 *
 * What is here is the list: how a free block enters and leaves it, and how it is searched.  The
 * blocks themselves are the business of parts/boundary_tags.h.
 */
#include "explicit_list.h"

#include "parts/boundary_tags.h"

/* ---- the free list ---- */

/* To the head of the list; in address order behind the last member below it. */
static void link_free(struct mem_heap *heap, struct mem_node *block)
{
    struct mem_node *previous = NULL;
    struct mem_node *next = heap->free_list;
    if (heap->address_ordered)
        for (; next && next < block; next = next->next)
            previous = next;
    block->previous = previous;
    block->next = next;
    if (previous)
        previous->next = block;
    else
        heap->free_list = block;
    if (next)
        next->previous = block;
}

static void unlink_free(struct mem_heap *heap, struct mem_node *block)
{
    assert(!is_used(block));
    if (block->previous)
        block->previous->next = block->next;
    else
        heap->free_list = block->next;
    if (block->next)
        block->next->previous = block->previous;
}

/* ---- what parts/boundary_tags.h asks for ---- */

static void release(struct mem_heap *heap, struct mem_node *block, size_t size)
{
    link_free(heap, coalesce(heap, block, size));
}

static void leave(struct mem_heap *heap, struct mem_node *block, struct mem_node *into)
{
    (void)into; /* a list does not care where the bytes go */
    unlink_free(heap, block);
}

static struct mem_node *find_fit(struct mem_heap *heap, size_t need)
{
    struct mem_node *block = heap->free_list;
    while (block && size_of(block) < need)
        block = block->next;
    return block;
}

/* ---- the public functions that differ ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages };
}

void mem_open_address_ordered(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages, .address_ordered = 1 };
}

/* A list of the right length whose members are all free blocks and distinct (each is the one its
 * neighbour points back to) holds each free block exactly once. */
static const char *check_list(const struct mem_heap *heap, size_t free_blocks)
{
    const struct mem_node *previous = NULL;
    const struct mem_node *block = heap->free_list;
    for (; block && free_blocks; block = block->next, free_blocks--) {
        if ((const char *)block < heap->first || (const char *)block >= heap->end)
            return "free_list";
        if (is_used(block) || block->previous != previous)
            return "free_list";
        if (heap->address_ordered && previous > block)
            return "free_list";
        previous = block;
    }
    return block || free_blocks ? "free_list" : NULL;
}

const char *mem_check(const struct mem_heap *heap)
{
    size_t free_blocks;
    const char *broken = check_row(heap, 1, &free_blocks);
    return broken ? broken : check_list(heap, free_blocks);
}

#include "parts/alloc_clear.h"
