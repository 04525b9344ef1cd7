/* The implementation of bump.h, where the contract and the pictures are. */
#include "bump.h"

#include "parts/alloc_clear.h"
#include "parts/requests.h"

enum { HEADER = 16, SMALLEST = 32, PAGE = MEM_PAGE, ARENA = 4 * PAGE };
#define USED ((size_t)1)

struct bump_block {
    size_t tag; /* the size, and whether it is used */
    struct bump_block *below;
};

struct bump_arena {
    struct bump_arena *below;
    struct bump_block *last;
    char *current;
    char *end;
};

/* ---- blocks ---- */

static size_t block_size(size_t request)
{
    size_t size = HEADER + round_up(request, ALIGN);
    return size < SMALLEST ? SMALLEST : size;
}

static size_t size_of(const struct bump_block *block)
{
    return block->tag & ~USED;
}

static bool is_used(const struct bump_block *block)
{
    return (block->tag & USED) != 0;
}

static void *payload_of(struct bump_block *block)
{
    return (char *)block + HEADER;
}

static struct bump_block *block_of(const void *payload)
{
    return (struct bump_block *)((char *)payload - HEADER);
}

/* ---- arenas ---- */

static char *start_of(const struct bump_arena *arena)
{
    return (char *)(arena + 1);
}

static size_t room_in(const struct bump_arena *arena)
{
    return (size_t)(arena->end - arena->current);
}

/* The bytes between the current address and the next block whose payload is aligned. */
static size_t left_out(const struct bump_arena *arena, size_t alignment)
{
    uintptr_t payload = (uintptr_t)arena->current + HEADER;
    return round_up(payload, alignment) - payload;
}

static bool fits(const struct bump_arena *arena, size_t need, size_t alignment)
{
    size_t room = room_in(arena);
    return need <= room && left_out(arena, alignment) <= room - need;
}

static struct bump_block *push(struct bump_arena *arena, size_t size, size_t used)
{
    struct bump_block *block = (struct bump_block *)arena->current;
    *block = (struct bump_block){ size | used, arena->last };
    arena->last = block;
    arena->current += size;
    return block;
}

/* Puts an arena on top in which the request fits; false when pages are refused. */
static bool chain(struct mem_heap *heap, size_t need, size_t alignment)
{
    size_t slack = alignment > ALIGN ? alignment : 0;
    size_t size = round_up(sizeof(struct bump_arena) + need + slack, PAGE);
    if (size < ARENA)
        size = ARENA;
    struct bump_arena *arena = heap->pages->map(heap->pages, size);
    if (!arena)
        return false;
    *arena = (struct bump_arena){ heap->newest, NULL, start_of(arena), (char *)arena + size };
    heap->newest = arena;
    return true;
}

static void give_back_newest(struct mem_heap *heap)
{
    struct bump_arena *arena = heap->newest;
    int error = errno;
    heap->newest = arena->below;
    heap->pages->unmap(heap->pages, arena, (size_t)(arena->end - (char *)arena));
    errno = error;
}

/* Gives back what is free at the top of the stack: blocks, and arenas without any. */
static void settle(struct mem_heap *heap)
{
    for (; heap->newest; give_back_newest(heap)) {
        struct bump_arena *arena = heap->newest;
        for (; arena->last && !is_used(arena->last); arena->last = arena->last->below)
            arena->current = (char *)arena->last;
        if (arena->last)
            return;
    }
}

static void *allocate(struct mem_heap *heap, size_t alignment, size_t size)
{
    size_t need = block_size(size);
    if (!heap->newest || !fits(heap->newest, need, alignment))
        if (!chain(heap, need, alignment))
            return fail(ENOMEM);
    size_t skipped = left_out(heap->newest, alignment);
    if (skipped)
        push(heap->newest, skipped, 0);
    return payload_of(push(heap->newest, need, USED));
}

/* ---- the public functions ---- */

void mem_open(struct mem_heap *heap, struct page_source *pages)
{
    *heap = (struct mem_heap){ .pages = pages };
}

void *mem_alloc(struct mem_heap *heap, size_t size)
{
    return size > MAX_REQUEST ? fail(ENOMEM) : allocate(heap, ALIGN, size);
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment))
        return fail(EINVAL);
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    return allocate(heap, alignment < ALIGN ? ALIGN : alignment, size);
}

/* Makes the last of all blocks `need` bytes long where it lies; false when it is another block,
 * or the arena ends before that. */
static bool resize_last(struct mem_heap *heap, struct bump_block *block, size_t need)
{
    struct bump_arena *arena = heap->newest;
    if (block != arena->last || need > (size_t)(arena->end - (char *)block))
        return false;
    block->tag = need | USED;
    arena->current = (char *)block + need;
    return true;
}

void *mem_resize(struct mem_heap *heap, void *payload, size_t size)
{
    if (!payload)
        return mem_alloc(heap, size);
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    struct bump_block *block = block_of(payload);
    size_t need = block_size(size);
    if (resize_last(heap, block, need) || need <= size_of(block))
        return payload;
    void *moved = mem_alloc(heap, size);
    if (moved) {
        memcpy(moved, payload, size_of(block) - HEADER);
        mem_free(heap, payload);
    }
    return moved;
}

void mem_free(struct mem_heap *heap, void *payload)
{
    if (!payload)
        return;
    block_of(payload)->tag &= ~USED;
    settle(heap);
}

size_t mem_usable_size(const struct mem_heap *heap, const void *payload)
{
    (void)heap;
    return payload ? size_of(block_of(payload)) - HEADER : 0;
}

/* ---- marks ---- */

struct mem_mark mem_mark(const struct mem_heap *heap)
{
    return (struct mem_mark){ heap->newest ? heap->newest->last : NULL };
}

static bool holds(const struct bump_arena *arena, const struct bump_block *block)
{
    return (const char *)block >= start_of(arena) && (const char *)block < arena->end;
}

void mem_rewind(struct mem_heap *heap, struct mem_mark mark)
{
    while (heap->newest && !holds(heap->newest, mark.last))
        give_back_newest(heap);
    if (!heap->newest)
        return;
    heap->newest->last = mark.last;
    heap->newest->current = (char *)mark.last + size_of(mark.last);
    settle(heap);
}

void mem_reset(struct mem_heap *heap)
{
    mem_rewind(heap, (struct mem_mark){ NULL });
}

/* ---- looking ---- */

static size_t smallest(const struct bump_block *block)
{
    return is_used(block) ? SMALLEST : HEADER;
}

static bool size_can_be(const struct bump_arena *arena, const struct bump_block *block)
{
    size_t size = size_of(block);
    size_t reach = (size_t)(arena->current - (const char *)block);
    return size % ALIGN == 0 && size >= smallest(block) && size <= reach;
}

/* The lowest arena above `floor`, which is an address: the stack is not in order of addresses. */
static const struct bump_arena *lowest_above(const struct mem_heap *heap, const void *floor)
{
    const struct bump_arena *lowest = NULL;
    for (const struct bump_arena *each = heap->newest; each; each = each->below)
        if ((const char *)each > (const char *)floor && (!lowest || each < lowest))
            lowest = each;
    return lowest;
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    size_t count = 0;
    const struct bump_arena *arena = NULL;
    while ((arena = lowest_above(heap, arena))) {
        char *at = start_of(arena);
        while (at < arena->end) {
            struct mem_block shown = { at, room_in(arena), 0 };
            if (at < arena->current) {
                const struct bump_block *block = (const struct bump_block *)at;
                if (!size_can_be(arena, block))
                    return count;
                shown = (struct mem_block){ at, size_of(block), is_used(block) };
            }
            if (count < capacity)
                blocks[count] = shown;
            count++;
            at += shown.size;
        }
    }
    return count;
}

static const char *check_arena(const struct bump_arena *arena)
{
    const struct bump_block *below = NULL;
    if (arena->current < start_of(arena) || arena->current > arena->end)
        return "tiling";
    for (const char *at = start_of(arena); at != arena->current;) {
        const struct bump_block *block = (const struct bump_block *)at;
        if (!size_can_be(arena, block))
            return "tiling";
        if (block->below != below)
            return "tags";
        below = block;
        at += size_of(block);
    }
    return arena->last == below ? NULL : "tags";
}

const char *mem_check(const struct mem_heap *heap)
{
    for (const struct bump_arena *each = heap->newest; each; each = each->below) {
        const char *broken = check_arena(each);
        if (broken)
            return broken;
    }
    if (heap->newest && (!heap->newest->last || !is_used(heap->newest->last)))
        return "adjacent_free";
    return NULL;
}
