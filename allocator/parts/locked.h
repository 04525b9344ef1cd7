/* locked.h: one lock around the functions of mem.h, for a heap that several threads share.
 *
 * The heap's own functions know nothing of it, and the validity predicate and the walk take no
 * lock: they are for a moment in which nobody allocates.  What it promises: calls by several
 * threads behave as if they came one after another.  A thread that dies within one, or forks, is
 * not looked after.
 */
#ifndef PARTS_LOCKED_H
#define PARTS_LOCKED_H

#include <pthread.h>

#include "mem.h"

static pthread_mutex_t mem_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void *locked_alloc(struct mem_heap *heap, size_t size)
{
    pthread_mutex_lock(&mem_lock);
    void *payload = mem_alloc(heap, size);
    pthread_mutex_unlock(&mem_lock);
    return payload;
}

static inline void *locked_alloc_clear(struct mem_heap *heap, size_t count, size_t size)
{
    pthread_mutex_lock(&mem_lock);
    void *payload = mem_alloc_clear(heap, count, size);
    pthread_mutex_unlock(&mem_lock);
    return payload;
}

static inline void *locked_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    pthread_mutex_lock(&mem_lock);
    void *payload = mem_alloc_aligned(heap, alignment, size);
    pthread_mutex_unlock(&mem_lock);
    return payload;
}

static inline void *locked_resize(struct mem_heap *heap, void *payload, size_t size)
{
    pthread_mutex_lock(&mem_lock);
    void *resized = mem_resize(heap, payload, size);
    pthread_mutex_unlock(&mem_lock);
    return resized;
}

static inline void locked_free(struct mem_heap *heap, void *payload)
{
    pthread_mutex_lock(&mem_lock);
    mem_free(heap, payload);
    pthread_mutex_unlock(&mem_lock);
}

/* A block's own size can be read while others allocate, its neighbours' tags cannot. */
static inline size_t locked_usable_size(const struct mem_heap *heap, const void *payload)
{
    pthread_mutex_lock(&mem_lock);
    size_t size = mem_usable_size(heap, payload);
    pthread_mutex_unlock(&mem_lock);
    return size;
}

#endif
