/* The implementation of buddy.h, where the contract and the pictures are. */
#include "buddy.h"

#include <stdlib.h>

#include "parts/alloc_clear.h"
#include "parts/requests.h"

enum { LEAST = 5, UNIT = 1 << LEAST, PAGE = MEM_PAGE, FIRST = BUDDY_FIRST };
enum { USED = 0x80, NO_BLOCK = 0 };

struct buddy_region {
    struct buddy_region *next; /* at a higher address */
    char *start;
    char *mapping;
    size_t mapped; /* bytes at `mapping` */
    unsigned order;
    unsigned char table[];
};

/* A block, used or free, by where it lies. */
struct place {
    struct buddy_region *region;
    size_t offset;
    unsigned order;
};

static size_t bytes(unsigned order)
{
    return (size_t)1 << order;
}

/* The smallest order of at least `least` whose blocks hold `size` bytes, at most 2^63. */
static unsigned order_of(size_t size, unsigned least)
{
    unsigned order = least;
    while (bytes(order) < size)
        order++;
    return order;
}

/* ---- the table ---- */

static unsigned char *state_at(struct buddy_region *region, size_t offset)
{
    return &region->table[offset / UNIT];
}

static bool is_free(struct buddy_region *region, size_t offset, unsigned order)
{
    return *state_at(region, offset) == order;
}

static struct links *links_of(struct place block)
{
    return (struct links *)(block.region->start + block.offset);
}

/* Makes a free block used or part of another. */
static void take_out(struct mem_heap *heap, struct place block)
{
    links_remove(&heap->free[block.order], links_of(block));
    *state_at(block.region, block.offset) = NO_BLOCK;
}

static void put_in(struct mem_heap *heap, struct place block)
{
    *state_at(block.region, block.offset) = (unsigned char)block.order;
    links_push(&heap->free[block.order], links_of(block));
}

/* ---- regions ---- */

/* The region that `address` is in, NULL if it is in none. */
static struct buddy_region *region_of(const struct mem_heap *heap, const void *address)
{
    struct buddy_region *region = heap->regions;
    while (region && (uintptr_t)address - (uintptr_t)region->start >= bytes(region->order))
        region = region->next;
    return region;
}

/* The place of the live block at `payload`; the table tells it from anything else. */
static struct place used_block(const struct mem_heap *heap, const void *payload)
{
    struct buddy_region *region = region_of(heap, payload);
    if (!region)
        abort();
    size_t offset = (size_t)((const char *)payload - region->start);
    unsigned state = *state_at(region, offset);
    if (offset % UNIT || !(state & USED))
        abort();
    return (struct place){ region, offset, state & ~(unsigned)USED };
}

static struct buddy_region *wholly_free(const struct mem_heap *heap)
{
    struct buddy_region *region = heap->regions;
    while (region && !is_free(region, 0, region->order))
        region = region->next;
    return region;
}

static void insert(struct mem_heap *heap, struct buddy_region *region)
{
    struct buddy_region **at = &heap->regions;
    while (*at && *at < region)
        at = &(*at)->next;
    region->next = *at;
    *at = region;
}

/* The region leaves the heap; no block of it is used or in a list. */
static void give_back(struct mem_heap *heap, struct buddy_region *region)
{
    struct buddy_region **at = &heap->regions;
    int error = errno;
    while (*at != region)
        at = &(*at)->next;
    *at = region->next;
    heap->pages->unmap(heap->pages, region->mapping, region->mapped);
    errno = error;
}

/* A new region, all of it one free block; false when pages are refused. */
static bool add_region(struct mem_heap *heap, unsigned order, size_t alignment)
{
    size_t lead = round_up(sizeof(struct buddy_region) + bytes(order) / UNIT, PAGE);
    size_t size = lead + bytes(order) + alignment - PAGE;
    char *mapping = heap->pages->map(heap->pages, size);
    if (!mapping)
        return false;
    uintptr_t lowest = (uintptr_t)mapping + lead;
    char *start = mapping + lead + (round_up(lowest, alignment) - lowest);
    size_t mapped = (size_t)(start - mapping) + bytes(order);
    if (mapped < size)
        heap->pages->unmap(heap->pages, mapping + mapped, size - mapped);
    struct buddy_region *region = (struct buddy_region *)(start - lead);
    region->start = start;
    region->mapping = mapping;
    region->mapped = mapped;
    region->order = order;
    insert(heap, region);
    put_in(heap, (struct place){ region, 0, order });
    return true;
}

static size_t held(const struct mem_heap *heap)
{
    size_t sum = 0;
    for (const struct buddy_region *each = heap->regions; each; each = each->next)
        sum += bytes(each->order);
    return sum;
}

static bool grow(struct mem_heap *heap, unsigned order, size_t alignment)
{
    unsigned smallest = order < FIRST ? FIRST : order;
    unsigned asked = order_of(held(heap) / 2 + 1, smallest);
    for (; asked >= smallest; asked--)
        if (add_region(heap, asked, alignment))
            return true;
    struct buddy_region *spare = wholly_free(heap);
    if (!spare)
        return false;
    take_out(heap, (struct place){ spare, 0, spare->order });
    give_back(heap, spare);
    return add_region(heap, smallest, alignment);
}

/* ---- blocks ---- */

/* The first free block of the lowest order from `order` up that lies at a multiple of
 * `alignment`; NULL if there is none. */
static struct links *find(const struct mem_heap *heap, unsigned order, size_t alignment)
{
    for (; order < BUDDY_ORDERS; order++)
        for (struct links *each = heap->free[order]; each; each = each->next)
            if ((uintptr_t)each % alignment == 0)
                return each;
    return NULL;
}

/* Makes `block`, which is in no list, a used block of the lower or same `order`; the upper halves
 * become free. */
static void occupy(struct mem_heap *heap, struct place block, unsigned order)
{
    while (block.order > order) {
        block.order--;
        size_t upper = block.offset + bytes(block.order);
        put_in(heap, (struct place){ block.region, upper, block.order });
    }
    *state_at(block.region, block.offset) = (unsigned char)(order | USED);
}

static void release(struct mem_heap *heap, struct place block)
{
    *state_at(block.region, block.offset) = NO_BLOCK;
    while (block.order < block.region->order) {
        size_t buddy = block.offset ^ bytes(block.order);
        if (!is_free(block.region, buddy, block.order))
            break;
        take_out(heap, (struct place){ block.region, buddy, block.order });
        block.offset &= ~bytes(block.order);
        block.order++;
    }
    if (block.order == block.region->order && wholly_free(heap))
        give_back(heap, block.region);
    else
        put_in(heap, block);
}

/* A request that needs `order` and `alignment`, found from order `least` up. */
static void *allocate(struct mem_heap *heap, unsigned order, unsigned least, size_t alignment)
{
    struct links *found;
    while (!(found = find(heap, least, alignment)))
        if (!grow(heap, least, alignment < PAGE ? PAGE : alignment))
            return fail(ENOMEM);
    struct place block = { region_of(heap, found), 0, 0 };
    block.offset = (size_t)((char *)found - block.region->start);
    block.order = *state_at(block.region, block.offset);
    take_out(heap, block);
    occupy(heap, block, order);
    return found;
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
    unsigned order = order_of(size, LEAST);
    return allocate(heap, order, order, ALIGN);
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment))
        return fail(EINVAL);
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    unsigned order = order_of(size, LEAST);
    unsigned least = order_of(alignment < PAGE ? alignment : PAGE, order);
    return allocate(heap, order, least, alignment);
}

/* Lets the block grow where it lies; false when an upper half on the way is not free. */
static bool grow_in_place(struct mem_heap *heap, struct place block, unsigned order)
{
    if (order > block.region->order || block.offset % bytes(order))
        return false;
    for (unsigned k = block.order; k < order; k++)
        if (!is_free(block.region, block.offset + bytes(k), k))
            return false;
    for (unsigned k = block.order; k < order; k++)
        take_out(heap, (struct place){ block.region, block.offset + bytes(k), k });
    *state_at(block.region, block.offset) = (unsigned char)(order | USED);
    return true;
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    struct place block = used_block(heap, payload);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    unsigned order = order_of(size, LEAST);
    if (order <= block.order) {
        occupy(heap, block, order);
        return payload;
    }
    if (grow_in_place(heap, block, order))
        return payload;
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, bytes(block.order));
        release(heap, block);
    }
    return moved;
}

void mem_free(struct mem_heap *heap, void *payload)
{
    if (payload)
        release(heap, used_block(heap, payload));
}

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    return payload ? bytes(used_block(heap, payload).order) : 0;
}

/* ---- looking ---- */

static unsigned order_at(const struct buddy_region *region, size_t offset)
{
    return region->table[offset / UNIT] & ~(unsigned)USED;
}

static bool order_can_be(const struct buddy_region *region, size_t offset)
{
    unsigned order = order_at(region, offset);
    return order >= LEAST && order <= region->order && offset % bytes(order) == 0;
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    for (const struct buddy_region *each = heap->regions; each; each = each->next) {
        for (size_t offset = 0; offset < bytes(each->order);) {
            if (!order_can_be(each, offset))
                return count;
            size_t size = bytes(order_at(each, offset));
            size_t used = each->table[offset / UNIT] / USED;
            if (count < capacity)
                blocks[count] = (struct mem_block){ each->start + offset, size, used };
            count++;
            offset += size;
        }
    }
    return count;
}

/* Looks at a region's blocks, and adds the free ones to `counts`, by order. */
static const char *check_region(struct buddy_region *region, size_t *counts)
{
    for (size_t offset = 0; offset < bytes(region->order);) {
        if (!order_can_be(region, offset))
            return "tiling";
        unsigned order = order_at(region, offset);
        for (size_t within = UNIT; within < bytes(order); within += UNIT)
            if (*state_at(region, offset + within) != NO_BLOCK)
                return "tags";
        if (is_free(region, offset, order)) {
            counts[order]++;
            if (order < region->order && is_free(region, offset ^ bytes(order), order))
                return "adjacent_free";
        }
        offset += bytes(order);
    }
    return NULL;
}

/* A list of the right length whose members are all free blocks and distinct (each is the one its
 * neighbour points back to) holds each free block exactly once. */
static const char *check_list(const struct mem_heap *heap, unsigned order, size_t count)
{
    const struct links *previous = NULL;
    const struct links *each = heap->free[order];
    for (; each && count; each = each->next, count--) {
        struct buddy_region *region = region_of(heap, each);
        size_t offset = region ? (size_t)((const char *)each - region->start) : 1;
        if (offset % UNIT || !is_free(region, offset, order) || each->previous != previous)
            return "free_list";
        previous = each;
    }
    return each || count ? "free_list" : NULL;
}

const char *mem_check(const struct mem_heap *heap)
{
    size_t counts[BUDDY_ORDERS] = { 0 };
    for (struct buddy_region *each = heap->regions; each; each = each->next) {
        const char *broken = check_region(each, counts);
        if (broken)
            return broken;
    }
    for (unsigned order = 0; order < BUDDY_ORDERS; order++)
        if (check_list(heap, order, counts[order]))
            return "free_list";
    return NULL;
}
