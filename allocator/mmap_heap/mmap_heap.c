/* The implementation of mmap_heap.h, where the contract and the pictures are. */
#include "mmap_heap.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "parts/alloc_clear.h"

enum { PAGE = MEM_PAGE, REGION = 4 * PAGE };

struct mem_node {
    size_t tag;
    struct mem_node *below;
};

#include "parts/headed_blocks.h"

struct mem_region {
    struct mem_region *next;
    size_t size; /* all that was mapped, this header too */
};

/* ---- regions: no heap needed ---- */

static struct mem_node *lowest(const struct mem_region *region)
{
    return node_at((char *)region + sizeof *region);
}

static char *limit_of(const struct mem_region *region)
{
    return (char *)region + region->size;
}

/* The upper neighbour; NULL for the last block of the region. */
static struct mem_node *above(const struct mem_region *region, const struct mem_node *block)
{
    return end_of(block) < limit_of(region) ? node_at(end_of(block)) : NULL;
}

static bool is_empty(const struct mem_region *region)
{
    return !is_used(lowest(region)) && !above(region, lowest(region));
}

static struct mem_region *region_of(const struct mem_heap *heap, const struct mem_node *block)
{
    struct mem_region *region = heap->regions;
    while ((char *)block >= limit_of(region))
        region = region->next;
    return region;
}

/* ---- splitting and merging ---- */

/* Tells the block above `block`, if there is one, that this is the one below it now. */
static void link_above(struct mem_region *region, struct mem_node *block)
{
    struct mem_node *upper = above(region, block);
    if (upper)
        upper->below = block;
}

/* Cuts the block after `size` bytes; the upper part is as used as it was. */
static struct mem_node *split(struct mem_region *region, struct mem_node *block, size_t size)
{
    struct mem_node *upper = node_at((char *)block + size);
    upper->tag = block->tag - size;
    upper->below = block;
    block->tag = size | (block->tag & USED);
    link_above(region, upper);
    return upper;
}

/* Joins the block with its upper neighbour if that is free. */
static void absorb(struct mem_region *region, struct mem_node *block)
{
    struct mem_node *upper = above(region, block);
    if (!upper || is_used(upper))
        return;
    block->tag += size_of(upper);
    link_above(region, block);
}

/* Makes a free block a used one of at least `need` bytes; a rest that makes a block stays free. */
static void occupy(struct mem_region *region, struct mem_node *block, size_t need)
{
    if (size_of(block) - need >= MIN_BLOCK)
        split(region, block, need);
    block->tag |= USED;
}

/* Makes a used block a free one, joined with its free neighbours. */
static void release(struct mem_region *region, struct mem_node *block)
{
    block->tag &= ~USED;
    absorb(region, block);
    if (block->below && !is_used(block->below))
        absorb(region, block->below);
}

/* ---- regions ---- */

static bool map_region(struct mem_heap *heap, size_t size)
{
    struct mem_region *region = heap->pages->map(heap->pages, size);
    if (!region)
        return false;
    struct mem_region **link = &heap->regions;
    while (*link && *link < region)
        link = &(*link)->next;
    *region = (struct mem_region){ *link, size };
    *link = region;
    *lowest(region) = (struct mem_node){ size - sizeof *region, NULL };
    return true;
}

static bool grow(struct mem_heap *heap, size_t need)
{
    size_t least = round_up(need + sizeof(struct mem_region), PAGE);
    if (least >= REGION)
        return map_region(heap, least);
    return map_region(heap, REGION) || map_region(heap, least);
}

/* Unmaps each region without a used block. */
static void give_back(struct mem_heap *heap)
{
    struct mem_region **link = &heap->regions;
    while (*link) {
        struct mem_region *region = *link;
        if (is_empty(region)) {
            *link = region->next;
            heap->pages->unmap(heap->pages, region, region->size);
        } else {
            link = &region->next;
        }
    }
}

/* ---- finding ---- */

static struct mem_node *first_fit(const struct mem_heap *heap, size_t need)
{
    for (struct mem_region *region = heap->regions; region; region = region->next)
        for (struct mem_node *block = lowest(region); block; block = above(region, block))
            if (!is_used(block) && size_of(block) >= need)
                return block;
    return NULL;
}

/* The lowest free block of at least `need` bytes; maps a region if there is none. */
static struct mem_node *take(struct mem_heap *heap, size_t need)
{
    struct mem_node *block = first_fit(heap, need);
    return block || !grow(heap, need) ? block : first_fit(heap, need);
}

/* ---- the public functions ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages };
}

bool mem_initialise(struct mem_heap *heap, struct page_source *pages, size_t size)
{
    mem_open(heap, pages);
    return size <= MAX_REQUEST && map_region(heap, round_up(size ? size : 1, PAGE));
}

void *mem_alloc(struct mem_heap *heap, size_t size)
{
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    size_t need = block_size(size);
    struct mem_node *block = take(heap, need);
    if (!block)
        return fail(ENOMEM);
    occupy(region_of(heap, block), block, need);
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
    struct mem_region *region = region_of(heap, block);
    uintptr_t payload = (uintptr_t)payload_of(block);
    size_t room = round_up(payload, alignment) - payload;
    if (room && room < MIN_BLOCK)
        room += alignment;
    if (room)
        block = split(region, block, room);
    occupy(region, block, need);
    return payload_of(block);
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    struct mem_node *block = block_of(payload);
    struct mem_region *region = region_of(heap, block);
    size_t need = block_size(size);
    size_t have = size_of(block);
    struct mem_node *upper = above(region, block);
    size_t reach = upper && !is_used(upper) ? have + size_of(upper) : have;
    if (reach >= need) {
        absorb(region, block);
        block->tag &= ~USED;
        occupy(region, block, need);
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
    struct mem_region *region = region_of(heap, block);
    release(region, block);
    if (is_empty(region))
        give_back(heap);
    errno = kept;
}

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    (void)heap;
    return payload ? size_of(block_of(payload)) - HEADER : 0;
}

/* ---- looking ---- */

static bool can_be(const struct mem_region *region, const struct mem_node *block)
{
    size_t size = size_of(block);
    return size >= MIN_BLOCK && size % ALIGN == 0
           && size <= (size_t)(limit_of(region) - (char *)block);
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    for (struct mem_region *region = heap->regions; region; region = region->next)
        for (struct mem_node *block = lowest(region); block; block = above(region, block)) {
            if (!can_be(region, block))
                return count;
            if (count < capacity)
                blocks[count] = (struct mem_block){ (char *)block, size_of(block), is_used(block) };
            count++;
        }
    return count;
}

static const char *check_region(const struct mem_region *region)
{
    const struct mem_node *below = NULL;
    for (const struct mem_node *block = lowest(region); block; block = above(region, block)) {
        if (!can_be(region, block))
            return "tiling";
        if (block->below != below)
            return "tags";
        if (below && !is_used(below) && !is_used(block))
            return "adjacent_free";
        below = block;
    }
    return NULL;
}

const char *mem_check(const struct mem_heap *heap)
{
    const char *end = NULL;
    for (const struct mem_region *region = heap->regions; region; region = region->next) {
        if ((const char *)region < end || !region->size || region->size % PAGE)
            return "tiling";
        const char *broken = check_region(region);
        if (broken)
            return broken;
        end = limit_of(region);
    }
    return NULL;
}
