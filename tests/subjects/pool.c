#include "pool.h"

#include <stdint.h>

/* Free chunks in address order, K&R style; the chunk's size stands before each block. */
struct chunk {
    size_t size;
    struct chunk *next;
};

struct pool {
    struct chunk *free_chunks;
    size_t size;
};

struct pool *pool_create(void *memory, size_t size)
{
    struct pool *pool = memory;
    if (!memory || size < sizeof *pool + 64)
        return NULL;
    pool->size = size;
    pool->free_chunks = (struct chunk *)(pool + 1);
    pool->free_chunks->size = (size - sizeof *pool) & ~(size_t)(POOL_ALIGN - 1);
    pool->free_chunks->next = NULL;
    return pool;
}

void *pool_malloc(struct pool *pool, size_t size)
{
    if (size > pool->size)
        return NULL;
    size_t need = (size + sizeof(size_t) + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
    if (need < sizeof(struct chunk))
        need = sizeof(struct chunk);
    for (struct chunk **link = &pool->free_chunks; *link; link = &(*link)->next) {
        struct chunk *chunk = *link;
        if (chunk->size < need)
            continue;
        if (chunk->size - need >= sizeof(struct chunk)) {
            struct chunk *rest = (struct chunk *)((char *)chunk + need);
            rest->size = chunk->size - need;
            rest->next = chunk->next;
            chunk->size = need;
            *link = rest;
        } else {
            *link = chunk->next;
        }
        return (char *)chunk + sizeof(size_t);
    }
    return NULL;
}

void pool_free(struct pool *pool, void *block)
{
    if (!block)
        return;
    struct chunk *chunk = (struct chunk *)((char *)block - sizeof(size_t));
    struct chunk *below = NULL, *above = pool->free_chunks;
    while (above && above < chunk) {
        below = above;
        above = above->next;
    }
    chunk->next = above;
    if (above && (char *)chunk + chunk->size == (char *)above) {
        chunk->size += above->size;
        chunk->next = above->next;
    }
    if (!below) {
        pool->free_chunks = chunk;
    } else if ((char *)below + below->size == (char *)chunk) {
        below->size += chunk->size;
        below->next = chunk->next;
    } else {
        below->next = chunk;
    }
}

bool pool_is_valid(const struct pool *pool)
{
    for (const struct chunk *chunk = pool->free_chunks; chunk; chunk = chunk->next)
        if (chunk->size < sizeof *chunk || (chunk->next && chunk->next <= chunk))
            return false;
    return true;
}
