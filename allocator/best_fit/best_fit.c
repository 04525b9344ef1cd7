/* The implementation of best_fit.h, where the contract and the pictures are. */
#include "best_fit.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 8, ALIGN = 16, MIN_BLOCK = 32, GROWTH = 4096 };
#define USED ((size_t)1)
#define MAX_REQUEST ((size_t)PTRDIFF_MAX)

/* The header of a block; the links are there only while the block is free. */
struct mem_node {
    size_t tag;
    struct mem_node *next;
    struct mem_node *previous;
};

/* ---- blocks: no heap needed ---- */

static size_t round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) & ~(multiple - 1);
}

static size_t block_size(size_t request)
{
    size_t size = round_up(request + 2 * TAG, ALIGN);
    return size < MIN_BLOCK ? MIN_BLOCK : size;
}

static struct mem_node *node_at(void *address)
{
    return (struct mem_node *)address;
}

static size_t size_of(const struct mem_node *block)
{
    return block->tag & ~(size_t)(ALIGN - 1);
}

static int is_used(const struct mem_node *block)
{
    return (block->tag & USED) != 0;
}

static struct mem_node *after(const struct mem_node *block)
{
    return node_at((char *)block + size_of(block));
}

static size_t *footer_of(struct mem_node *block, size_t size)
{
    return (size_t *)((char *)block + size - TAG);
}

static size_t tag_before(const struct mem_node *block)
{
    return *(const size_t *)((const char *)block - TAG);
}

static void *payload_of(struct mem_node *block)
{
    return (char *)block + TAG;
}

static struct mem_node *block_of(const void *payload)
{
    return node_at((char *)payload - TAG);
}

static void set_tags(struct mem_node *block, size_t size, size_t used)
{
    assert(size >= MIN_BLOCK && size % ALIGN == 0);
    block->tag = size | used;
    *footer_of(block, size) = size | used;
}

/* ---- the free list ---- */

static void link_free(struct mem_heap *heap, struct mem_node *block)
{
    block->previous = NULL;
    block->next = heap->free_list;
    if (heap->free_list)
        heap->free_list->previous = block;
    heap->free_list = block;
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

static struct mem_node *best_fit(const struct mem_heap *heap, size_t need)
{
    struct mem_node *best = NULL;
    for (struct mem_node *block = heap->free_list; block; block = block->next) {
        size_t size = size_of(block);
        if (size < need)
            continue;
        if (!best || size < size_of(best) || (size == size_of(best) && block < best))
            best = block;
    }
    return best;
}

/* ---- splitting and merging ---- */

/* Makes [block, block + size) a free block, merged with its free neighbours. */
static void release(struct mem_heap *heap, struct mem_node *block, size_t size)
{
    block->tag = size; /* stays behind inside a larger block, for the next double free to meet */
    struct mem_node *upper = after(block);
    if (!is_used(upper)) {
        unlink_free(heap, upper);
        size += size_of(upper);
    }
    size_t below = tag_before(block);
    if (!(below & USED)) {
        block = node_at((char *)block - below);
        unlink_free(heap, block);
        size += below;
    }
    set_tags(block, size, 0);
    link_free(heap, block);
}

/* Makes `block`, which spans `have` bytes and is in no list, a used block of at least `need`
 * bytes, and frees the rest where it is large enough. */
static void occupy(struct mem_heap *heap, struct mem_node *block, size_t have, size_t need)
{
    assert(have >= need);
    if (have - need < MIN_BLOCK) {
        set_tags(block, have, USED);
        return;
    }
    set_tags(block, need, USED);
    release(heap, after(block), have - need);
}

/* ---- growing ---- */

/* Lays the fences and the block of the memory [start, start + size), which is 8-byte aligned at
 * both ends: the used footer below, one free block, the upper fence. */
static void lay_out(struct mem_heap *heap, char *start, size_t size)
{
    *(size_t *)start = USED;
    heap->end = start + size - TAG;
    node_at(heap->end)->tag = USED;
    release(heap, node_at(start + TAG), size - 2 * TAG);
}

/* Takes new memory that does not follow on the heap's end: the first of all, or beyond a gap. */
static int start_row(struct mem_heap *heap, char *memory, size_t size)
{
    char *start = memory + (round_up((uintptr_t)memory, ALIGN) - (uintptr_t)memory);
    size_t skipped = (size_t)(start - memory);
    if (size < skipped + 2 * TAG + MIN_BLOCK)
        return 0;
    char *old_end = heap->end;
    lay_out(heap, start, (size - skipped) & ~(size_t)(ALIGN - 1));
    heap->limit = memory + size;
    if (!heap->first)
        heap->first = start + TAG;
    else
        set_tags(node_at(old_end), (size_t)(start + TAG - old_end), USED);
    return 1;
}

/* Takes `size` more bytes at the heap's limit. */
static void extend_row(struct mem_heap *heap, size_t size)
{
    heap->limit += size;
    struct mem_node *block = node_at(heap->end);
    size_t room = (size_t)(heap->limit - TAG - heap->end) & ~(size_t)(ALIGN - 1);
    heap->end += room;
    node_at(heap->end)->tag = USED;
    release(heap, block, room);
}

static int grow(struct mem_heap *heap, size_t need)
{
    size_t missing = need;
    if (!heap->first)
        missing += MIN_BLOCK;
    else if (!(tag_before(node_at(heap->end)) & USED))
        missing -= tag_before(node_at(heap->end));
    size_t size = round_up(missing, GROWTH);
    char *memory = heap->pages->grow(heap->pages, size);
    if (!memory)
        return 0;
    if (heap->first && memory == heap->limit) {
        extend_row(heap, size);
        return 1;
    }
    return (!heap->first || memory > heap->end) && start_row(heap, memory, size);
}

/* A free block of at least `need` bytes, taken out of the list; grows the heap if none is there. */
static struct mem_node *take(struct mem_heap *heap, size_t need)
{
    struct mem_node *block;
    while (!(block = best_fit(heap, need)))
        if (!grow(heap, need))
            return NULL;
    unlink_free(heap, block);
    return block;
}

static void *fail(int error)
{
    errno = error;
    return NULL;
}

static void reject_freed(const struct mem_node *block)
{
    if (!is_used(block))
        abort();
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
    occupy(heap, block, size_of(block), need);
    return payload_of(block);
}

void *mem_alloc_clear(struct mem_heap *heap, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return fail(ENOMEM);
    void *payload = mem_alloc(heap, count * size);
    if (payload)
        memset(payload, 0, count * size);
    return payload;
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!alignment || (alignment & (alignment - 1)))
        return fail(EINVAL);
    if (alignment <= ALIGN)
        return mem_alloc(heap, size);
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    size_t need = block_size(size);
    struct mem_node *lower = take(heap, need + alignment + ALIGN);
    if (!lower)
        return fail(ENOMEM);
    size_t have = size_of(lower);
    uintptr_t payload = (uintptr_t)payload_of(lower);
    size_t room = round_up(payload, alignment) - payload;
    if (room && room < MIN_BLOCK)
        room += alignment;
    struct mem_node *block = node_at((char *)lower + room);
    occupy(heap, block, have - room, need);
    if (room)
        release(heap, lower, room);
    return payload_of(block);
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    struct mem_node *block = block_of(payload);
    reject_freed(block);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    size_t need = block_size(size);
    size_t have = size_of(block);
    struct mem_node *upper = after(block);
    size_t reach = is_used(upper) ? have : have + size_of(upper);
    if (reach >= need) {
        if (reach > have)
            unlink_free(heap, upper);
        occupy(heap, block, reach, need);
        return payload;
    }
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, have - 2 * TAG);
        mem_free(heap, payload);
    }
    return moved;
}

void mem_free(struct mem_heap *heap, void *payload)
{
    if (!payload)
        return;
    struct mem_node *block = block_of(payload);
    reject_freed(block);
    release(heap, block, size_of(block));
}

size_t mem_usable_size(const void *payload)
{
    return payload ? size_of(block_of(payload)) - 2 * TAG : 0;
}

/* ---- looking ---- */

static int size_can_be(const struct mem_heap *heap, const char *at)
{
    size_t size = size_of((const struct mem_node *)at);
    return size >= MIN_BLOCK && size <= (size_t)(heap->end - at);
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    for (char *at = heap->first; at && at < heap->end; at += size_of(node_at(at))) {
        if (!size_can_be(heap, at))
            break;
        if (count < capacity)
            blocks[count] = (struct mem_block){ at, size_of(node_at(at)), node_at(at)->tag & USED };
        count++;
    }
    return count;
}

static const char *check_row(const struct mem_heap *heap, size_t *free_blocks)
{
    int below_used = 1;
    *free_blocks = 0;
    for (char *at = heap->first; at != heap->end; at += size_of(node_at(at))) {
        struct mem_node *block = node_at(at);
        if (!size_can_be(heap, at))
            return "tiling";
        if (*footer_of(block, size_of(block)) != block->tag || (block->tag & (ALIGN - 1)) > USED)
            return "tags";
        if (!is_used(block) && !below_used)
            return "adjacent_free";
        below_used = is_used(block);
        *free_blocks += !below_used;
    }
    return NULL;
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
        previous = block;
    }
    return block || free_blocks ? "free_list" : NULL;
}

const char *mem_check(const struct mem_heap *heap)
{
    if (!heap->first)
        return heap->free_list ? "free_list" : NULL;
    if (tag_before(node_at(heap->first)) != USED || node_at(heap->end)->tag != USED)
        return "tags";
    size_t free_blocks;
    const char *broken = check_row(heap, &free_blocks);
    return broken ? broken : check_list(heap, free_blocks);
}
