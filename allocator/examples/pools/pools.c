#include "pools.h"

#include <stdint.h>

enum { POOLS = 3, ALIGN = 8 };

struct cell {
    struct cell *next;
};

struct pool {
    size_t block_size;
    size_t share; /* of the memory, in sixteenths */
    char *start, *end;
    struct cell *free_cells;
};

static struct pool pools[POOLS] = {
    {.block_size = 16, .share = 4},
    {.block_size = 64, .share = 6},
    {.block_size = POOLS_LARGEST, .share = 6},
};

int pools_init(void *memory, size_t size)
{
    char *next = (char *)(((uintptr_t)memory + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    size_t room = size > ALIGN ? size - ALIGN : 0;
    if (!memory || room / 16 < POOLS_LARGEST)
        return -1;
    for (struct pool *pool = pools; pool < pools + POOLS; pool++) {
        size_t count = room / 16 * pool->share / pool->block_size;
        pool->start = next;
        pool->end = next + count * pool->block_size;
        pool->free_cells = NULL;
        for (char *block = pool->end; block > pool->start;) {
            block -= pool->block_size;
            struct cell *cell = (struct cell *)block;
            cell->next = pool->free_cells;
            pool->free_cells = cell;
        }
        next = pool->end;
    }
    return 0;
}

void *pools_take(size_t size)
{
    for (struct pool *pool = pools; pool < pools + POOLS; pool++) {
        if (size > pool->block_size || !pool->free_cells)
            continue;
        struct cell *cell = pool->free_cells;
        pool->free_cells = cell->next;
        return cell;
    }
    return NULL;
}

void pools_give(void *block)
{
    char *address = block;
    if (!address)
        return;
    for (struct pool *pool = pools; pool < pools + POOLS; pool++) {
        if (address < pool->start || address >= pool->end)
            continue;
        struct cell *cell = (struct cell *)address;
        cell->next = pool->free_cells;
        pool->free_cells = cell;
    }
}
