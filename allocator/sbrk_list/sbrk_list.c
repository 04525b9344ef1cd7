/* The implementation of sbrk_list.h, where the contract and the pictures are. */
#include "sbrk_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "parts/alloc_clear.h"

struct mem_node {
    size_t tag;
    struct mem_node *next;
};

#include "parts/headed_blocks.h"

static char *aligned_up(char *address)
{
    return address + (round_up((uintptr_t)address, ALIGN) - (uintptr_t)address);
}

/* ---- splitting and merging ---- */

/* The upper neighbour if it is free and follows on without a gap, else NULL. */
static struct mem_node *free_above(const struct mem_node *block)
{
    struct mem_node *upper = block->next;
    return upper && !is_used(upper) && (char *)upper == end_of(block) ? upper : NULL;
}

/* Joins the block with all free blocks that follow it. */
static void absorb(struct mem_node *block)
{
    for (struct mem_node *upper; (upper = free_above(block)) != NULL; block->next = upper->next)
        block->tag += size_of(upper);
}

/* Cuts the block after `size` bytes; the upper part is as used as it was. */
static struct mem_node *split(struct mem_node *block, size_t size)
{
    struct mem_node *upper = node_at((char *)block + size);
    upper->tag = block->tag - size;
    upper->next = block->next;
    block->tag = size | (block->tag & USED);
    block->next = upper;
    return upper;
}

/* Makes a free block a used one of at least `need` bytes; a rest that makes a block stays free. */
static void occupy(struct mem_node *block, size_t need)
{
    if (size_of(block) - need >= MIN_BLOCK)
        split(block, need);
    block->tag |= USED;
}

/* ---- the break ---- */

/* Lowers the break as far as the last row holds no used block. */
static void give_back(struct mem_heap *heap)
{
    struct mem_node **kept = &heap->first; /* the link behind all that stays */
    char *end = heap->row;
    for (struct mem_node *block = heap->first; block; block = block->next)
        if (is_used(block) || (char *)block < heap->row) {
            kept = &block->next;
            if (end_of(block) > end)
                end = end_of(block);
        }
    if (end == heap->limit || !heap->pages->shrink(heap->pages, (size_t)(heap->limit - end)))
        return;
    *kept = NULL;
    heap->limit = end;
    heap->top = aligned_up(end);
}

/* The same if the block may have left free memory at the end of the heap. */
static void give_back_above(struct mem_heap *heap, const struct mem_node *block)
{
    for (const struct mem_node *upper = block->next; upper; upper = upper->next)
        if (is_used(upper))
            return;
    give_back(heap);
}

/* Asks for `size` bytes more; false when refused. */
static bool raise_break(struct mem_heap *heap, size_t size)
{
    char *memory = heap->pages->grow(heap->pages, size);
    if (!memory)
        return false;
    if (memory != heap->limit) {
        heap->row = memory;
        heap->top = aligned_up(memory);
    }
    heap->limit = memory + size;
    return true;
}

/* A new free block of `need` bytes at the end of the list; NULL when refused. */
static struct mem_node *append(struct mem_heap *heap, size_t need)
{
    size_t missing;
    while ((uintptr_t)heap->limit < (uintptr_t)heap->top + need) {
        missing = (uintptr_t)heap->top + need - (uintptr_t)heap->limit;
        if (!raise_break(heap, missing)) {
            give_back(heap);
            return NULL;
        }
    }
    struct mem_node **last = &heap->first;
    while (*last)
        last = &(*last)->next;
    struct mem_node *block = *last = node_at(heap->top);
    block->tag = need;
    block->next = NULL;
    heap->top += need;
    return block;
}

/* ---- finding ---- */

/* The lowest free block of at least `need` bytes, a new one if there is none; NULL when refused. */
static struct mem_node *take(struct mem_heap *heap, size_t need)
{
    for (struct mem_node *block = heap->first; block; block = block->next) {
        if (is_used(block))
            continue;
        absorb(block);
        if (size_of(block) >= need)
            return block;
    }
    return append(heap, need);
}

/* ---- the public functions ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages };
}

void *mem_alloc(struct mem_heap *heap, size_t size)
{
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    size_t need = block_size(size);
    struct mem_node *block = take(heap, need);
    if (!block)
        return fail(ENOMEM);
    occupy(block, need);
    return payload_of(block);
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment))
        return fail(EINVAL);
    if (alignment <= ALIGN)
        return mem_alloc(heap, size);
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    size_t need = block_size(size);
    struct mem_node *block = take(heap, need + alignment + ALIGN);
    if (!block)
        return fail(ENOMEM);
    uintptr_t payload = (uintptr_t)payload_of(block);
    size_t room = round_up(payload, alignment) - payload;
    if (room && room < MIN_BLOCK)
        room += alignment;
    if (room)
        block = split(block, room);
    occupy(block, need);
    give_back_above(heap, block);
    return payload_of(block);
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    struct mem_node *block = block_of(payload);
    size_t need = block_size(size);
    size_t have = size_of(block);
    size_t reach = have;
    for (struct mem_node *last = block; (last = free_above(last)) != NULL;)
        reach += size_of(last);
    if (reach >= need) {
        absorb(block);
        block->tag &= ~USED;
        occupy(block, need);
        give_back_above(heap, block);
        return payload;
    }
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, have - HEADER);
        mem_free(heap, payload);
    }
    return moved;
}

void mem_free(struct mem_heap *heap, void *payload)
{
    if (!payload)
        return;
    int kept = errno; /* a page source may write it */
    struct mem_node *block = block_of(payload);
    block->tag &= ~USED;
    give_back_above(heap, block);
    errno = kept;
}

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    (void)heap;
    return payload ? size_of(block_of(payload)) - HEADER : 0;
}

/* ---- looking ---- */

static bool can_be(const struct mem_heap *heap, const struct mem_node *block)
{
    const char *start = (const char *)block;
    if (start >= heap->limit || (uintptr_t)start % ALIGN)
        return false;
    size_t size = size_of(block);
    return size >= MIN_BLOCK && size % ALIGN == 0 && size <= (size_t)(heap->limit - start);
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    for (struct mem_node *block = heap->first; block; block = block->next) {
        if (!can_be(heap, block))
            break;
        if (count < capacity)
            blocks[count] = (struct mem_block){ (char *)block, size_of(block), is_used(block) };
        count++;
    }
    return count;
}

const char *mem_check(const struct mem_heap *heap)
{
    const char *row = aligned_up(heap->row);
    const char *end = NULL;
    for (const struct mem_node *block = heap->first; block; block = block->next) {
        const char *start = (const char *)block;
        if (start < end || !can_be(heap, block))
            return "tiling";
        if (start >= row && start != (end > row ? end : row))
            return "tiling";
        end = end_of(block);
    }
    if (heap->top != (end > row ? end : row))
        return "tiling";
    return heap->top > heap->limit && heap->limit != heap->row ? "tiling" : NULL;
}
