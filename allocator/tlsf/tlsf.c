/* The implementation of tlsf.h, where the contract and the pictures are. */
#include "tlsf.h"

#include <stdlib.h>
#include <string.h>

#include "parts/alloc_clear.h"
#include "parts/links.h"
#include "parts/requests.h"

enum { HEAD = 8, MIN_BLOCK = 32, LINEAR = ALIGN << SECOND_BITS, GROWTH = 4096 };
#define FREE ((size_t)1)
#define BELOW_FREE ((size_t)2)
#define FLAGS (FREE | BELOW_FREE)

/* A block; the links are there only while it is free. */
struct mem_node {
    size_t head;
    struct links links;
};

struct class {
    unsigned first;
    unsigned second;
};

/* ---- blocks: no heap needed ---- */

static size_t block_size(size_t request)
{
    size_t size = round_up(request + HEAD, ALIGN);
    return size < MIN_BLOCK ? MIN_BLOCK : size;
}

static struct mem_node *node_at(const void *address)
{
    return (struct mem_node *)address;
}

static size_t size_of(const struct mem_node *block)
{
    return block->head & ~(size_t)(ALIGN - 1);
}

static bool is_free(const struct mem_node *block)
{
    return block->head & FREE;
}

static struct mem_node *after(const struct mem_node *block)
{
    return node_at((const char *)block + size_of(block));
}

/* The word through which the block that starts at `end` finds the free block below it. */
static struct mem_node **start_below(const void *end)
{
    return (struct mem_node **)end - 1;
}

static void *payload_of(struct mem_node *block)
{
    return (char *)block + HEAD;
}

static struct mem_node *block_of(const void *payload)
{
    return node_at((const char *)payload - HEAD);
}

/* ---- classes ---- */

static unsigned highest_bit(size_t word)
{
    return 63 - (unsigned)__builtin_clzll(word);
}

static unsigned lowest_bit(size_t word)
{
    return (unsigned)__builtin_ctzll(word);
}

static struct class class_of(size_t size)
{
    if (MIN_BLOCK < LINEAR && size < LINEAR)
        return (struct class){ 0, (unsigned)(size / ALIGN) };
    unsigned power = highest_bit(size);
    unsigned second = (unsigned)(size >> (power - SECOND_BITS)) - SECOND_LEVELS;
    return (struct class){ power - highest_bit(LINEAR) + 1, second };
}

/* The least size of a class that is not below `size`. */
static size_t class_up(size_t size)
{
    if (size < LINEAR)
        return size;
    return round_up(size, (size_t)1 << (highest_bit(size) - SECOND_BITS));
}

/* ---- the lists and their maps ---- */

static void link_free(struct mem_heap *heap, struct mem_node *block)
{
    struct class class = class_of(size_of(block));
    links_push(&heap->lists[class.first][class.second], &block->links);
    heap->second_map[class.first] |= (uint16_t)(1u << class.second);
    heap->first_map |= (uint64_t)1 << class.first;
}

static void unlink_free(struct mem_heap *heap, struct mem_node *block)
{
    struct class class = class_of(size_of(block));
    struct links **list = &heap->lists[class.first][class.second];
    links_remove(list, &block->links);
    if (*list)
        return;
    heap->second_map[class.first] &= (uint16_t)~(1u << class.second);
    if (!heap->second_map[class.first])
        heap->first_map &= ~((uint64_t)1 << class.first);
}

/* The block that a request takes which needs `size` bytes, the least size of a class. */
static struct mem_node *good_fit(const struct mem_heap *heap, size_t size)
{
    struct class class = class_of(size);
    unsigned second_map = heap->second_map[class.first] & (~0u << class.second);
    if (!second_map) {
        uint64_t above = heap->first_map & (~(uint64_t)1 << class.first);
        if (!above)
            return NULL;
        class.first = lowest_bit(above);
        second_map = heap->second_map[class.first];
    }
    struct links *links = heap->lists[class.first][lowest_bit(second_map)];
    return node_at((char *)links - offsetof(struct mem_node, links));
}

/* ---- splitting and merging ---- */

/* Makes [block, block + size) a free block, merged with its free neighbours; of the head only B
 * has to be right. */
static void release(struct mem_heap *heap, struct mem_node *block, size_t size)
{
    size_t below_free = block->head & BELOW_FREE;
    block->head = size | FREE; /* stays behind in a larger block, for a double free to meet */
    struct mem_node *upper = after(block);
    if (is_free(upper)) {
        unlink_free(heap, upper);
        size += size_of(upper);
    }
    if (below_free) {
        block = *start_below(block);
        unlink_free(heap, block);
        size += size_of(block);
    }
    block->head = size | FREE;
    *start_below(after(block)) = block;
    after(block)->head |= BELOW_FREE;
    link_free(heap, block);
}

/* Makes `block`, which spans `have` bytes and is in no list, a used block of at least `need`
 * bytes, and frees the rest where it is large enough.  B stays as it is. */
static void occupy(struct mem_heap *heap, struct mem_node *block, size_t have, size_t need)
{
    size_t below_free = block->head & BELOW_FREE;
    if (have - need < MIN_BLOCK) {
        block->head = have | below_free;
        after(block)->head &= ~BELOW_FREE;
        return;
    }
    block->head = need | below_free;
    after(block)->head = 0;
    release(heap, after(block), have - need);
}

/* ---- growing ---- */

/* Lays the fence of the memory that ends at heap->limit, and frees what lies below it from `block`
 * on, of whose head B has to be right. */
static void lay_out(struct mem_heap *heap, struct mem_node *block)
{
    uintptr_t limit = (uintptr_t)heap->limit;
    heap->end = heap->limit - limit % ALIGN - HEAD;
    node_at(heap->end)->head = 0;
    release(heap, block, (size_t)(heap->end - (char *)block));
}

/* Takes memory up to heap->limit that does not follow on: the first of all, or beyond a gap. */
static void start_row(struct mem_heap *heap, char *memory)
{
    char *start = memory + (round_up((uintptr_t)memory, ALIGN) - (uintptr_t)memory) + HEAD;
    if (!heap->first)
        heap->first = start;
    else
        node_at(heap->end)->head |= (size_t)(start - heap->end);
    node_at(start)->head = 0;
    lay_out(heap, node_at(start));
}

static bool grow(struct mem_heap *heap, size_t size)
{
    size_t missing = size;
    if (!heap->first)
        missing += 2 * HEAD;
    else if (node_at(heap->end)->head & BELOW_FREE)
        missing -= size_of(*start_below(heap->end));
    size_t granted = round_up(missing, GROWTH);
    char *memory = heap->pages->grow(heap->pages, granted);
    if (!memory)
        return false;
    bool follows = heap->first && memory == heap->limit;
    heap->limit = memory + granted;
    if (follows)
        lay_out(heap, node_at(heap->end));
    else
        start_row(heap, memory);
    return true;
}

/* A free block that fits `need` bytes, taken out of its list; grows the heap if none is there. */
static struct mem_node *take(struct mem_heap *heap, size_t need)
{
    size_t size = class_up(need);
    struct mem_node *block;
    while (!(block = good_fit(heap, size)))
        if (!grow(heap, size))
            return NULL;
    unlink_free(heap, block);
    return block;
}

static void reject_freed(const struct mem_node *block)
{
    if (is_free(block))
        abort();
}

/* ---- the public functions ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages };
}

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
    size_t reach = is_free(upper) ? have + size_of(upper) : have;
    if (reach >= need) {
        if (reach > have)
            unlink_free(heap, upper);
        occupy(heap, block, reach, need);
        return payload;
    }
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, have - HEAD);
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
    return payload ? size_of(block_of(payload)) - HEAD : 0;
}

/* ---- looking ---- */

static bool size_can_be(const struct mem_heap *heap, const char *at)
{
    size_t size = size_of(node_at(at));
    return size >= MIN_BLOCK && size <= (size_t)(heap->end - at);
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    for (char *at = heap->first; at && at < heap->end; at += size_of(node_at(at))) {
        if (!size_can_be(heap, at))
            break;
        if (count < capacity)
            blocks[count] = (struct mem_block){ at, size_of(node_at(at)), !is_free(node_at(at)) };
        count++;
    }
    return count;
}

static const char *check_row(const struct mem_heap *heap, size_t *free_blocks)
{
    size_t below_free = 0;
    *free_blocks = 0;
    for (char *at = heap->first; at != heap->end; at += size_of(node_at(at))) {
        const struct mem_node *block = node_at(at);
        if (!size_can_be(heap, at))
            return "tiling";
        if ((block->head & (ALIGN - 1) & ~FREE) != below_free)
            return "tags";
        if (is_free(block) && *start_below(after(block)) != block)
            return "tags";
        if (is_free(block) && below_free)
            return "adjacent_free";
        below_free = is_free(block) ? BELOW_FREE : 0;
        *free_blocks += is_free(block);
    }
    return node_at(heap->end)->head == below_free ? NULL : "tags";
}

/* Whether the list of a class holds free blocks of that class, each of which its neighbour points
 * back to: none is there twice then.  Takes their number off *free_blocks, at most to 0. */
static bool list_is_right(const struct mem_heap *heap, struct class class, size_t *free_blocks)
{
    const struct links *previous = NULL;
    const struct links *links = heap->lists[class.first][class.second];
    for (; links; previous = links, links = links->next, --*free_blocks) {
        const char *at = (const char *)links - offsetof(struct mem_node, links);
        if (!*free_blocks || at < heap->first || at >= heap->end || !is_free(node_at(at)))
            return false;
        struct class own = class_of(size_of(node_at(at)));
        if (own.first != class.first || own.second != class.second || links->previous != previous)
            return false;
    }
    return true;
}

static const char *check_lists(const struct mem_heap *heap, size_t free_blocks)
{
    for (struct class class = { 0, 0 }; class.first < FIRST_LEVELS; class.first++) {
        unsigned second_map = 0;
        for (class.second = 0; class.second < SECOND_LEVELS; class.second++) {
            if (!list_is_right(heap, class, &free_blocks))
                return "free_list";
            second_map |= (unsigned)!!heap->lists[class.first][class.second] << class.second;
        }
        bool in_first_map = heap->first_map >> class.first & 1;
        if (heap->second_map[class.first] != second_map || in_first_map != !!second_map)
            return "free_list";
    }
    return free_blocks || heap->first_map >> FIRST_LEVELS ? "free_list" : NULL;
}

const char *mem_check(const struct mem_heap *heap)
{
    size_t free_blocks = 0;
    const char *broken = heap->first ? check_row(heap, &free_blocks) : NULL;
    return broken ? broken : check_lists(heap, free_blocks);
}
