/* alloc_clear.h: mem_alloc_clear on top of mem_alloc; for the one source of an allocator. */
#ifndef PARTS_ALLOC_CLEAR_H
#define PARTS_ALLOC_CLEAR_H

#include <string.h>

#include "mem.h"
#include "parts/requests.h"

void *mem_alloc_clear(struct mem_heap *heap, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return fail(ENOMEM);
    void *payload = mem_alloc(heap, count * size);
    if (payload)
        memset(payload, 0, count * size);
    return payload;
}

#endif
