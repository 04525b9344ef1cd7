/* The implementation of page_source_array.h. */
#include "page_source_array.h"

#include <string.h>

static void *grow(struct page_source *self, size_t size)
{
    struct page_source_array *array = (struct page_source_array *)self;
    if (size > (size_t)(array->limit - array->end))
        return NULL;
    array->end += size;
    return memset(array->end - size, 0, size);
}

static bool shrink(struct page_source *self, size_t size)
{
    struct page_source_array *array = (struct page_source_array *)self;
    if (size > (size_t)(array->end - array->start))
        return false;
    array->end -= size;
    return true;
}

static void *map(struct page_source *self, size_t size)
{
    (void)self, (void)size;
    return NULL;
}

static bool extend(struct page_source *self, void *region, size_t size, size_t new_size)
{
    (void)self, (void)region, (void)size, (void)new_size;
    return false;
}

static void unmap(struct page_source *self, void *region, size_t size)
{
    (void)self, (void)region, (void)size;
}

struct page_source *page_source_array(struct page_source_array *array, void *memory, size_t size)
{
    char *start = memory;
    *array = (struct page_source_array){
        .source = { grow, shrink, map, extend, unmap },
        .start = start,
        .end = start,
        .limit = start + size,
    };
    return &array->source;
}
