/* boundary_tags.h: blocks in a row with a tag at either end; for the one source of an allocator.
 *
 * This is the half that such allocators have in common: tags, splitting, merging, growing,
 * requests at an alignment, resizing, the walk.  The other half is how free blocks are found.  The
 * allocator's header, included first, defines
 *
 *   struct mem_node   the header of a block: `size_t tag`, then what a free block keeps in its
 *                     payload (up to 16 bytes)
 *   struct mem_heap   with the members
 *       struct page_source *pages;
 *       char *first;      the lowest block, or NULL before the first growth
 *       char *end;        the upper fence
 *       char *limit;      the first byte beyond the memory granted last
 *
 * and its source, which includes this file, defines the three functions declared below.
 */
#ifndef PARTS_BOUNDARY_TAGS_H
#define PARTS_BOUNDARY_TAGS_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "parts/requests.h"

enum { TAG = 8, MIN_BLOCK = 32, GROWTH = 4096 };
#define USED ((size_t)1)

/* ---- what the allocator defines ---- */

/* Makes [block, block + size) free: joined with its free neighbours by coalesce(), or not. */
static void release(struct mem_heap *heap, struct mem_node *block, size_t size);

/* `block`, a free one, is that no longer: it becomes part of the block at `into`, or is taken out
 * for a request (then `into` is the block itself). */
static void leave(struct mem_heap *heap, struct mem_node *block, struct mem_node *into);

/* The free block of at least `need` bytes that the allocator's policy chooses, or NULL. */
static struct mem_node *find_fit(struct mem_heap *heap, size_t need);

/* ---- blocks: no heap needed ---- */

static inline size_t block_size(size_t request)
{
    size_t size = round_up(request + 2 * TAG, ALIGN);
    return size < MIN_BLOCK ? MIN_BLOCK : size;
}

static inline struct mem_node *node_at(void *address)
{
    return (struct mem_node *)address;
}

static inline size_t size_of(const struct mem_node *block)
{
    return block->tag & ~(size_t)(ALIGN - 1);
}

static inline int is_used(const struct mem_node *block)
{
    return (block->tag & USED) != 0;
}

static inline struct mem_node *after(const struct mem_node *block)
{
    return node_at((char *)block + size_of(block));
}

static inline size_t *footer_of(struct mem_node *block, size_t size)
{
    return (size_t *)((char *)block + size - TAG);
}

static inline size_t tag_before(const struct mem_node *block)
{
    return *(const size_t *)((const char *)block - TAG);
}

static inline void *payload_of(struct mem_node *block)
{
    return (char *)block + TAG;
}

static inline struct mem_node *block_of(const void *payload)
{
    return node_at((char *)payload - TAG);
}

static inline void set_tags(struct mem_node *block, size_t size, size_t used)
{
    assert(size >= MIN_BLOCK && size % ALIGN == 0);
    block->tag = size | used;
    *footer_of(block, size) = size | used;
}

/* ---- splitting and merging ---- */

/* Makes [block, block + size) and its free neighbours one free block, and returns it. */
static inline struct mem_node *coalesce(struct mem_heap *heap, struct mem_node *block, size_t size)
{
    block->tag = size; /* stays behind inside a larger block, for the next double free to meet */
    struct mem_node *upper = after(block);
    size_t below = tag_before(block);
    if (!(below & USED)) {
        block = node_at((char *)block - below);
        leave(heap, block, block);
        size += below;
    }
    if (!is_used(upper)) {
        leave(heap, upper, block);
        size += size_of(upper);
    }
    set_tags(block, size, 0);
    return block;
}

/* Makes `block`, which spans `have` bytes and is not free any longer, a used block of at least
 * `need` bytes, and releases the rest where it is large enough. */
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

/* A free block of at least `need` bytes, free no longer; grows the heap if none is there. */
static struct mem_node *take(struct mem_heap *heap, size_t need)
{
    struct mem_node *block;
    while (!(block = find_fit(heap, need)))
        if (!grow(heap, need))
            return NULL;
    leave(heap, block, block);
    return block;
}

static inline void reject_freed(const struct mem_node *block)
{
    if (!is_used(block))
        abort();
}

/* ---- the public functions ---- */

#include "parts/serve.h"

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
            leave(heap, upper, block);
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

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    (void)heap;
    return payload ? size_of(block_of(payload)) - 2 * TAG : 0;
}

/* ---- looking ---- */

static inline int size_can_be(const struct mem_heap *heap, const char *at)
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

/* The first of "tiling", "tags" and, where free neighbours are `merged`, "adjacent_free" that does
 * not hold of the row; NULL if all do, and then `free_blocks` of them are free. */
static inline const char *check_row(const struct mem_heap *heap, int merged, size_t *free_blocks)
{
    *free_blocks = 0;
    if (!heap->first)
        return NULL;
    if (tag_before(node_at(heap->first)) != USED || node_at(heap->end)->tag != USED)
        return "tags";
    int below_used = 1;
    for (char *at = heap->first; at != heap->end; at += size_of(node_at(at))) {
        struct mem_node *block = node_at(at);
        if (!size_can_be(heap, at))
            return "tiling";
        if (*footer_of(block, size_of(block)) != block->tag || (block->tag & (ALIGN - 1)) > USED)
            return "tags";
        if (merged && !is_used(block) && !below_used)
            return "adjacent_free";
        below_used = is_used(block);
        *free_blocks += !below_used;
    }
    return NULL;
}

#endif
