#ifndef POOL_H
#define POOL_H
#include <stdbool.h>
#include <stddef.h>

/* A pool of memory that you bring yourself.  Many pools may exist. */
struct pool;

/* NULL if the memory is too small. */
struct pool *pool_create(void *memory, size_t size);
void *pool_malloc(struct pool *pool, size_t size);
void pool_free(struct pool *pool, void *block);
bool pool_is_valid(const struct pool *pool);

#ifndef POOL_ALIGN
#define POOL_ALIGN 8
#endif
#endif
