/* The implementation of first_fit.h, where the contract and the pictures are. */
#include "first_fit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parts/alloc_clear.h"
#include "parts/requests.h"

struct block {
    size_t size;
    struct block *next;
    struct block *previous;
    size_t used;
    struct block *self;
};

struct row {
    struct row *below; /* the row that was the newest before */
    char *start;
    char *limit;
};

/* Payloads are aligned by these, so they are the same where a pointer is shorter. */
enum { HEADER = 40, RECORD = 24, MIN_BLOCK = 48 };
static_assert(HEADER >= sizeof(struct block) && RECORD >= sizeof(struct row), "they hold it");

/* ---- blocks: no heap needed ---- */

static size_t block_size(size_t request)
{
    return round_up(request + HEADER, ALIGN);
}

static void *payload_of(struct block *block)
{
    return (char *)block + HEADER;
}

static struct block *block_of(const void *payload)
{
    return (struct block *)((char *)payload - HEADER);
}

static char *end_of(const struct block *block)
{
    return (char *)block + block->size;
}

/* Bytes to leave below the lowest aligned payload in a block that starts at `start`. */
static size_t room_below(const char *start, size_t alignment)
{
    uintptr_t payload = (uintptr_t)start + HEADER;
    size_t room = round_up(payload, alignment) - payload;
    return room && room < MIN_BLOCK ? room + alignment : room;
}

/* The largest that room_below can be. */
static size_t most_room(size_t alignment)
{
    return alignment > ALIGN ? alignment + 2 * ALIGN : 0;
}

/* ---- rows ---- */

static struct block *first_in(const struct row *row)
{
    return (struct block *)((char *)row + RECORD);
}

static char *end_of_row(const struct row *row)
{
    return row->limit - ((uintptr_t)row->limit - RECORD) % ALIGN;
}

/* The row that a block with its payload at `payload` would lie in, or NULL; reads no block. */
static const struct row *row_of(const struct mem_heap *heap, const void *payload)
{
    const char *at = payload;
    const struct row *row = heap->rows;
    while (row && (at < (const char *)payload_of(first_in(row)) || at >= end_of_row(row)))
        row = row->below;
    return row;
}

/* ---- the list of all blocks ---- */

/* Makes a free block of `size` bytes at `address`, linked behind `previous` (NULL: the lowest). */
static struct block *insert(struct mem_heap *heap, char *address, size_t size,
                            struct block *previous)
{
    assert(size >= MIN_BLOCK && size % ALIGN == 0);
    struct block *block = (struct block *)address;
    struct block *next = previous ? previous->next : heap->first;
    *block = (struct block){ size, next, previous, 0, block };
    if (previous)
        previous->next = block;
    else
        heap->first = block;
    if (next)
        next->previous = block;
    return block;
}

static void unlink_block(struct mem_heap *heap, struct block *block)
{
    if (block->previous)
        block->previous->next = block->next;
    else
        heap->first = block->next;
    if (block->next)
        block->next->previous = block->previous;
}

/* Cuts a block after `size` bytes and returns the upper part, a free block. */
static struct block *split(struct mem_heap *heap, struct block *block, size_t size)
{
    size_t rest = block->size - size;
    block->size = size;
    return insert(heap, (char *)block + size, rest, block);
}

/* Only blocks of one row do: where a row ends, the next block is behind another record. */
static bool touch(const struct block *lower, const struct block *upper)
{
    return lower && upper && end_of(lower) == (const char *)upper;
}

static bool free_neighbours(const struct block *lower, const struct block *upper)
{
    return touch(lower, upper) && !lower->used && !upper->used;
}

/* The upper block's header stays behind, and says free, for the next double free to meet. */
static void swallow_upper(struct mem_heap *heap, struct block *block)
{
    block->size += block->next->size;
    unlink_block(heap, block->next);
}

/* Fuses a free block with its free neighbours; returns the block that it is then part of. */
static struct block *fuse(struct mem_heap *heap, struct block *block)
{
    if (free_neighbours(block, block->next))
        swallow_upper(heap, block);
    if (free_neighbours(block->previous, block)) {
        block = block->previous;
        swallow_upper(heap, block);
    }
    return block;
}

/* ---- growing and shrinking ---- */

/* The block at the end of a row if it is free, or NULL. */
static struct block *free_end(const struct mem_heap *heap, const struct row *row)
{
    struct block *block = heap->first;
    while (end_of(block) != end_of_row(row))
        block = block->next;
    return block->used ? NULL : block;
}

/* The highest block below `address`, or NULL. */
static struct block *block_below(const struct mem_heap *heap, const void *address)
{
    struct block *below = NULL;
    for (struct block *block = heap->first; block && (void *)block < address; block = block->next)
        below = block;
    return below;
}

/* Begins a row that has room for `room` bytes at any alignment of what the page source gives. */
static bool start_row(struct mem_heap *heap, size_t room)
{
    size_t size = RECORD + room + ALIGN - 1;
    char *memory = heap->pages->grow(heap->pages, size);
    if (!memory)
        return false;
    struct row *row = (struct row *)(memory + -(uintptr_t)memory % ALIGN);
    *row = (struct row){ heap->rows, memory, memory + size };
    heap->rows = row;
    heap->open = true;
    char *first = (char *)first_in(row);
    insert(heap, first, (size_t)(end_of_row(row) - first), block_below(heap, first));
    return true;
}

/* Adds `size` bytes to the open row, as a free block fused with `last`, its free end if it has one.
 * Without an open row any more, where they are not to be had there. */
static bool extend_row(struct mem_heap *heap, struct block *last, size_t size)
{
    struct row *row = heap->rows;
    char *memory = heap->pages->grow(heap->pages, size);
    if (!memory)
        return false;
    if (memory != row->limit) {
        heap->pages->shrink(heap->pages, size);
        heap->open = false;
        return true;
    }
    char *end = end_of_row(row);
    row->limit += size;
    size_t gain = (size_t)(end_of_row(row) - end);
    if (last)
        last->size += gain;
    else
        insert(heap, end, gain, block_below(heap, end));
    return true;
}

/* Asks once for the pages that a block of `need` bytes takes; false when they are refused. */
static bool grow(struct mem_heap *heap, size_t alignment, size_t need)
{
    if (!heap->open)
        return start_row(heap, most_room(alignment) + need);
    struct row *row = heap->rows;
    char *end = end_of_row(row);
    struct block *last = free_end(heap, row);
    size_t wanted = room_below(last ? (char *)last : end, alignment) + need;
    size_t there = (last ? last->size : 0) + (size_t)(row->limit - end);
    return extend_row(heap, last, wanted - there);
}

/* Gives a free block back to the page source if it is the end of the open row. */
static void give_back(struct mem_heap *heap, struct block *block)
{
    struct row *row = heap->rows;
    if (!heap->open || end_of(block) != end_of_row(row))
        return;
    bool whole = block == first_in(row);
    char *from = whole ? row->start : (char *)block;
    struct row *below = row->below;
    struct block links = *block; /* once given back, nothing of it may be read */
    if (!heap->pages->shrink(heap->pages, (size_t)(row->limit - from)))
        return;
    unlink_block(heap, &links);
    if (whole) {
        heap->rows = below;
        heap->open = false;
    } else {
        row->limit = from;
    }
}

/* ---- finding, using, freeing ---- */

static struct block *first_fit(const struct mem_heap *heap, size_t alignment, size_t need)
{
    for (struct block *block = heap->first; block; block = block->next)
        if (!block->used && block->size >= need
            && block->size - need >= room_below((char *)block, alignment))
            return block;
    return NULL;
}

static void release(struct mem_heap *heap, struct block *block)
{
    block->used = 0;
    give_back(heap, fuse(heap, block));
}

/* Cuts off what a block has beyond `need` bytes, where that makes a block; returns it, or NULL. */
static struct block *cut_rest(struct mem_heap *heap, struct block *block, size_t need)
{
    return block->size - need < MIN_BLOCK ? NULL : split(heap, block, need);
}

/* The payload of a used block of `need` bytes, NULL when pages are refused. */
static void *take(struct mem_heap *heap, size_t alignment, size_t need)
{
    struct block *block;
    while (!(block = first_fit(heap, alignment, need)))
        if (!grow(heap, alignment, need))
            return fail(ENOMEM);
    size_t room = room_below((char *)block, alignment);
    if (room)
        block = split(heap, block, room);
    block->used = 1;
    cut_rest(heap, block, need);
    return payload_of(block);
}

/* The block of a payload; does not return for a pointer that is none. */
static struct block *live_block(const struct mem_heap *heap, const void *payload)
{
    if ((uintptr_t)payload % ALIGN || !row_of(heap, payload))
        abort();
    struct block *block = block_of(payload);
    if (block->self != block || block->used != 1)
        abort();
    return block;
}

/* ---- the public functions ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages };
}

void *mem_alloc(struct mem_heap *heap, size_t size)
{
    return mem_alloc_aligned(heap, ALIGN, size);
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment))
        return fail(EINVAL);
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    return take(heap, alignment < ALIGN ? ALIGN : alignment, block_size(size));
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    struct block *block = live_block(heap, payload);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    size_t need = block_size(size);
    bool reaches = touch(block, block->next) && !block->next->used;
    if (block->size + (reaches ? block->next->size : 0) >= need) {
        if (reaches)
            swallow_upper(heap, block);
        struct block *rest = cut_rest(heap, block, need);
        if (rest)
            release(heap, rest);
        return payload;
    }
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, block->size - HEADER);
        release(heap, block);
    }
    return moved;
}

void mem_free(struct mem_heap *heap, void *payload)
{
    if (payload)
        release(heap, live_block(heap, payload));
}

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    (void)heap;
    return payload ? block_of(payload)->size - HEADER : 0;
}

/* ---- looking ---- */

static bool size_can_be(const struct block *block, const char *end)
{
    return block->size >= MIN_BLOCK && block->size % ALIGN == 0
           && block->size <= (size_t)(end - (const char *)block);
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    const struct block *below = NULL;
    for (struct block *block = heap->first; block > below; block = block->next) {
        const struct row *row = row_of(heap, payload_of(block));
        if (!row || !size_can_be(block, end_of_row(row)))
            break;
        if (count < capacity)
            blocks[count] = (struct mem_block){ (char *)block, block->size, block->used };
        count++;
        below = block;
    }
    return count;
}

/* The row that has `block` for its lowest, or NULL; reads no block. */
static const struct row *row_behind(const struct mem_heap *heap, const struct block *block)
{
    const struct row *row = heap->rows;
    while (row && first_in(row) != block)
        row = row->below;
    return row;
}

/* Checks the blocks of one row; `*last` is the block before them, and then the last of them. */
static const char *check_row(const struct row *row, const struct block **last)
{
    const char *end = end_of_row(row);
    for (const struct block *at = first_in(row);; at = at->next) {
        if (!size_can_be(at, end))
            return "tiling";
        if (at->self != at || at->previous != *last || at->used > 1)
            return "tags";
        if (free_neighbours(*last, at))
            return "adjacent_free";
        *last = at;
        if (end_of(at) == end)
            return NULL;
        if (!touch(at, at->next))
            return "tiling";
    }
}

const char *mem_check(const struct mem_heap *heap)
{
    size_t unseen = 0;
    for (const struct row *row = heap->rows; row; row = row->below)
        unseen++;
    const struct block *last = NULL;
    for (const struct block *block = heap->first; block; block = last->next, unseen--) {
        const struct row *row = row_behind(heap, block);
        if (!row || block < last)
            return "tiling";
        const char *broken = check_row(row, &last);
        if (broken)
            return broken;
    }
    return unseen || (heap->open && !heap->rows) ? "tiling" : NULL;
}
