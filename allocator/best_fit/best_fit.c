/* The implementation of best_fit.h, where the contract and the pictures are. */
#include "best_fit.h"

#include <assert.h>

#include "blocks.h"
#include "looking.h"
#include "parts/alloc_clear.h"

/* ---- regions ---- */

/* The link to the lowest region whose header is not below `block`. */
static struct mem_region **find_link(struct mem_heap *heap, const struct mem_node *block)
{
    struct mem_region **link = &heap->regions;
    while (*link && (uintptr_t)checked(heap, header_of(*link)) < (uintptr_t)block)
        link = &(*link)->next;
    return link;
}

/* Gives the pages of a region behind its first `span` bytes back, if there are any. */
static void cut_region(struct mem_heap *heap, struct mem_region *region, size_t span)
{
    size_t have = size_of(header_of(region));
    if (span == have)
        return;
    heap->pages->unmap(heap->pages, start_of(region) + span, have - span);
    set_header(heap, header_of(region), span | USED | REGION);
}

static void *map_region(struct mem_heap *heap, size_t alignment, size_t size)
{
    size_t most = round_up(round_up(REGION_START, alignment) + size, PAGE);
    char *start = heap->pages->map(heap->pages, most);
    if (!start)
        return NULL;
    size_t lead = round_up((uintptr_t)start + REGION_START, alignment) - (uintptr_t)start;
    struct mem_region *region = (struct mem_region *)(start + lead - REGION_START);
    region->lead = lead;
    set_header(heap, header_of(region), most | USED | REGION);
    cut_region(heap, region, round_up(lead + size, PAGE));
    struct mem_region **link = find_link(heap, header_of(region));
    region->next = *link;
    *link = region;
    return start + lead;
}

static void free_region(struct mem_heap *heap, struct mem_region *region)
{
    *find_link(heap, header_of(region)) = region->next;
    heap->pages->unmap(heap->pages, start_of(region), size_of(header_of(region)));
}

/* Makes a region span at least `span` bytes where it lies; false when that is refused. */
static bool extend_region(struct mem_heap *heap, struct mem_region *region, size_t span)
{
    size_t have = size_of(header_of(region));
    if (span <= have)
        return true;
    if (!heap->pages->extend(heap->pages, start_of(region), have, span))
        return false;
    set_header(heap, header_of(region), span | USED | REGION);
    return true;
}

/* ---- telling what a pointer is ---- */

/* Says what `wanted`, which lies in `row` but is not the header of a live block, is instead. */
static _Noreturn void tell_misuse(const struct mem_heap *heap, const struct mem_row *row,
                                  const struct mem_node *wanted)
{
    struct mem_node *block = first_of(row);
    while (after(checked(heap, block)) <= wanted)
        block = after(block);
    bool was_block = is_sound(heap, wanted);
    report(was_block && !is_used(block) ? "double free of" : "interior or foreign pointer",
           payload_of(wanted));
}

/* The live block whose payload this is.  Any other pointer is reported; what it points to is read
 * only where that is in a row. */
static struct mem_node *live_block(const struct mem_heap *heap, const void *payload)
{
    struct mem_node *block = node_at((void *)((uintptr_t)payload - HEADER));
    if ((uintptr_t)payload % ALIGN)
        report("interior or foreign pointer", payload);
    const struct mem_row *row = row_of(heap, block);
    if (row) {
        if (!is_sound(heap, block) || !is_used(block))
            tell_misuse(heap, row, block);
        return block;
    }
    struct mem_region *region = *find_link((struct mem_heap *)heap, block);
    if (!region || header_of(region) != block)
        report("interior or foreign pointer", payload);
    return checked(heap, block);
}

/* ---- splitting and merging ---- */

/* Takes a free block out of the tree. */
static void unlink_free(struct mem_heap *heap, struct mem_node *block)
{
    assert(!is_used(block));
    heap->tree = tree_remove(heap->tree, block);
}

/* Tells the block above `block` whether `block` is free. */
static void tell_upper(const struct mem_heap *heap, const struct mem_node *block, size_t below_free)
{
    struct mem_node *upper = checked(heap, after(block));
    set_header(heap, upper, (upper->word & ~BELOW_FREE) | below_free);
}

/* The free block below `block`: a footer is believed if it leads to a header that confirms it. */
static struct mem_node *free_below(const struct mem_heap *heap, const struct mem_node *block)
{
    size_t size = ((const size_t *)block)[-1];
    struct mem_node *below = node_at((char *)block - size);
    if (size % ALIGN || !row_of(heap, below) || below >= block || size_of(below) != size)
        report("smashed footer below", payload_of(block));
    return checked(heap, below);
}

/* Makes a used block free, merged with its free neighbours.  Its header says "free" first, even if
 * it then stays behind inside a larger block: for a second free to meet. */
static void release(struct mem_heap *heap, struct mem_node *block)
{
    size_t size = size_of(block);
    size_t below_free = block->word & BELOW_FREE;
    struct mem_node *upper = checked(heap, after(block));
    struct mem_node *lower = below_free ? free_below(heap, block) : block;
    set_header(heap, block, size | below_free);
    if (!is_used(upper)) {
        unlink_free(heap, upper);
        size += size_of(upper);
    }
    if (below_free) {
        unlink_free(heap, lower);
        size += size_of(lower);
    }
    set_header(heap, lower, size);
    *footer_of(lower) = size;
    tell_upper(heap, lower, BELOW_FREE);
    heap->tree = tree_insert(heap->tree, lower);
}

/* Makes `block`, which spans `have` bytes and is not in the tree, a used block of at least `need`
 * bytes, and frees the rest where it is large enough. */
static void occupy(struct mem_heap *heap, struct mem_node *block, size_t have, size_t need)
{
    assert(have >= need);
    size_t flags = (block->word & BELOW_FREE) | USED;
    if (have - need < MIN_BLOCK) {
        set_header(heap, block, have | flags);
        tell_upper(heap, block, 0);
        return;
    }
    set_header(heap, block, need | flags);
    set_header(heap, after(block), (have - need) | USED);
    release(heap, after(block));
}

/* ---- growing, and giving back ---- */

/* Lays the top row's new fence, and frees what lies between it and `block`, the old one. */
static void lay_fence(struct mem_heap *heap, struct mem_node *block, size_t below_free)
{
    char *end = heap->limit - (uintptr_t)heap->limit % ALIGN - HEADER;
    heap->top_row->end = end;
    set_header(heap, node_at(end), USED);
    set_header(heap, block, (size_t)(end - (char *)block) | below_free | USED);
    release(heap, block);
}

/* The link to `row`; for NULL the one at the end of the list. */
static struct mem_row **link_to(struct mem_heap *heap, const struct mem_row *row)
{
    struct mem_row **link = &heap->rows;
    while (*link != row)
        link = &(*link)->above;
    return link;
}

/* Starts a row in new memory: the first of all, beyond a gap, or after one that was given back. */
static void start_row(struct mem_heap *heap, char *memory)
{
    struct mem_row *row = (struct mem_row *)round_up((uintptr_t)memory, ALIGN);
    row->above = NULL;
    *link_to(heap, NULL) = row;
    heap->top_row = row;
    heap->start = memory;
    lay_fence(heap, first_of(row), 0);
}

static bool grow(struct mem_heap *heap, size_t need)
{
    size_t missing = need;
    struct mem_node *fence = heap->top_row ? checked(heap, node_at(heap->top_row->end)) : NULL;
    if (!fence)
        missing += ROW_START + HEADER;
    else if (fence->word & BELOW_FREE)
        missing -= size_of(free_below(heap, fence));
    size_t size = round_up(missing, PAGE);
    char *memory = heap->pages->grow(heap->pages, size);
    if (!memory)
        return false;
    bool follows_on = fence && memory == heap->limit;
    heap->limit = memory + size;
    if (follows_on)
        lay_fence(heap, fence, fence->word & BELOW_FREE);
    else
        start_row(heap, memory);
    return true;
}

/* Gives the top row back if all of it is free. */
static void give_back(struct mem_heap *heap)
{
    struct mem_row *row = heap->top_row;
    struct mem_node *block = row ? first_of(row) : NULL;
    if (!row || is_used(block) || (char *)after(block) != row->end)
        return;
    unlink_free(heap, block);
    if (!heap->pages->shrink(heap->pages, (size_t)(heap->limit - heap->start))) {
        heap->tree = tree_insert(heap->tree, block);
        return;
    }
    *link_to(heap, row) = NULL;
    heap->top_row = NULL;
}

/* ---- allocating ---- */

/* A free block of at least `need` bytes, taken out of the tree; grows the heap if none is there. */
static struct mem_node *take(struct mem_heap *heap, size_t need)
{
    struct mem_node *block;
    while (!(block = tree_fit(heap->tree, need)))
        if (!grow(heap, need))
            return NULL;
    unlink_free(heap, checked(heap, block));
    return block;
}

/* A block of a row. */
static void *carve(struct mem_heap *heap, size_t alignment, size_t need)
{
    size_t slack = alignment > ALIGN ? alignment + MIN_BLOCK - ALIGN : 0;
    struct mem_node *lower = take(heap, need + slack);
    if (!lower)
        return NULL;
    size_t have = size_of(lower);
    uintptr_t payload = (uintptr_t)payload_of(lower);
    size_t room = round_up(payload, alignment) - payload;
    if (room && room < MIN_BLOCK)
        room += alignment;
    struct mem_node *block = node_at((char *)lower + room);
    if (room) {
        set_header(heap, block, (have - room) | USED);
        set_header(heap, lower, room | USED);
    }
    occupy(heap, block, have - room, need);
    if (room)
        release(heap, lower);
    return payload_of(block);
}

static void *allocate(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    size_t need = block_size(size);
    void *payload = need >= THRESHOLD ? map_region(heap, alignment, size)
                                      : carve(heap, alignment, need);
    return payload ? payload : fail(ENOMEM);
}

/* ---- resizing ---- */

static void *move(struct mem_heap *heap, void *payload, size_t size)
{
    size_t usable = mem_usable_size(heap, payload);
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, usable < size ? usable : size);
        mem_free(heap, payload);
    }
    return moved;
}

static void *resize_region(struct mem_heap *heap, void *payload, size_t size)
{
    size = size ? size : 1; /* a region ends above its payload */
    struct mem_region *region = region_of(block_of(payload));
    size_t span = round_up(region->lead + size, PAGE);
    bool large = block_size(size) >= THRESHOLD;
    void *moved = large ? NULL : move(heap, payload, size);
    if (moved)
        return moved;
    if (!extend_region(heap, region, span))
        return large ? move(heap, payload, size) : fail(ENOMEM);
    cut_region(heap, region, span);
    return payload;
}

static void *resize_in_row(struct mem_heap *heap, void *payload, size_t size)
{
    struct mem_node *block = block_of(payload);
    struct mem_node *upper = checked(heap, after(block));
    size_t need = block_size(size);
    size_t reach = size_of(block) + (is_used(upper) ? 0 : size_of(upper));
    if (need >= THRESHOLD || reach < need)
        return move(heap, payload, size);
    if (!is_used(upper))
        unlink_free(heap, upper);
    occupy(heap, block, reach, need);
    return payload;
}

/* ---- the public functions ---- */

void mem_open_keyed(struct mem_heap *heap, struct page_source *pages, uint64_t key)
{
    *heap = (struct mem_heap){ .pages = pages, .key = key };
}

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    mem_open_keyed(heap, pages, UINT64_C(0x5ea1ed4eade25) ^ (uintptr_t)heap);
}

void *mem_alloc(struct mem_heap *heap, size_t size)
{
    return allocate(heap, ALIGN, size);
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment))
        return fail(EINVAL);
    return allocate(heap, alignment < ALIGN ? ALIGN : alignment, size);
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    struct mem_node *block = live_block(heap, payload);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    return block->word & REGION ? resize_region(heap, payload, size)
                                : resize_in_row(heap, payload, size);
}

void mem_free(struct mem_heap *heap, void *payload)
{
    if (!payload)
        return;
    struct mem_node *block = live_block(heap, payload);
    int error = errno;
    if (block->word & REGION) {
        free_region(heap, region_of(block));
    } else {
        release(heap, block);
        give_back(heap);
    }
    errno = error;
}

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    if (!payload)
        return 0;
    const struct mem_node *block = live_block(heap, payload);
    return size_of(block) - (block->word & REGION ? region_of(block)->lead : HEADER);
}
