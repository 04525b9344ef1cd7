/* The implementation of implicit_list.h, where the contract and the pictures are.
 *
 * What is here is the search through all blocks, and what becomes of freed ones.  The blocks
 * themselves are the business of parts/boundary_tags.h.
 */
#include "implicit_list.h"

#include "parts/boundary_tags.h"

/* ---- the search ---- */

/* The lowest free block of at least `need` bytes in [from, to), two places where blocks begin. */
static struct mem_node *first_fit(char *from, const char *to, size_t need)
{
    for (char *at = from; at != to; at += size_of(node_at(at)))
        if (!is_used(node_at(at)) && size_of(node_at(at)) >= need)
            return node_at(at);
    return NULL;
}

static struct mem_node *search(struct mem_heap *heap, size_t need)
{
    char *start = heap->rover ? heap->rover : heap->first;
    struct mem_node *block = first_fit(start, heap->end, need);
    if (!block)
        block = first_fit(heap->first, start, need);
    if (block && heap->policy == MEM_NEXT_FIT)
        heap->rover = (char *)block;
    return block;
}

/* ---- deferred merging ---- */

/* Makes each run of free neighbours one block. */
static void sweep(struct mem_heap *heap)
{
    for (char *at = heap->first; at != heap->end; at += size_of(node_at(at))) {
        struct mem_node *block = node_at(at);
        while (!is_used(block) && !is_used(after(block)))
            set_tags(block, size_of(block) + size_of(after(block)), 0);
    }
}

/* ---- what parts/boundary_tags.h asks for ---- */

static struct mem_node *find_fit(struct mem_heap *heap, size_t need)
{
    struct mem_node *block = search(heap, need);
    if (block || heap->policy != MEM_DEFERRED)
        return block;
    sweep(heap);
    return search(heap, need);
}

static void move_rover(struct mem_heap *heap, const struct mem_node *from, struct mem_node *to)
{
    if (heap->rover == (const char *)from)
        heap->rover = (char *)to;
}

static void release(struct mem_heap *heap, struct mem_node *block, size_t size)
{
    if (heap->policy == MEM_DEFERRED)
        set_tags(block, size, 0);
    else
        move_rover(heap, block, coalesce(heap, block, size));
}

static void leave(struct mem_heap *heap, struct mem_node *block, struct mem_node *into)
{
    move_rover(heap, block, into);
}

/* ---- the public functions that differ ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages, .policy = MEM_FIRST_FIT };
}

void mem_open_next_fit(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages, .policy = MEM_NEXT_FIT };
}

void mem_open_deferred(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages, .policy = MEM_DEFERRED };
}

const char *mem_check(const struct mem_heap *heap)
{
    size_t free_blocks;
    const char *broken = check_row(heap, heap->policy != MEM_DEFERRED, &free_blocks);
    if (broken || !heap->rover)
        return broken;
    for (char *at = heap->first; at != heap->end; at += size_of(node_at(at)))
        if (at == heap->rover)
            return NULL;
    return "free_list";
}

#include "parts/alloc_clear.h"
