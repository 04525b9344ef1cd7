/* The implementation of page_source_mapped.h, where the picture is. */
#include "page_source_mapped.h"

#include <stdint.h>
#include <string.h>

enum { PAGE = MEM_PAGE, STEP = 4 * PAGE };

static size_t round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) & ~(multiple - 1);
}

static struct page_source_mapped *mapped_of(struct page_source *self)
{
    return (struct page_source_mapped *)self;
}

/* Unmaps the region's whole pages from `end` on. */
static void trim(struct page_source_mapped *mapped)
{
    char *kept = mapped->start + round_up((size_t)(mapped->end - mapped->start), PAGE);
    if (mapped->limit > kept)
        mapped->below->unmap(mapped->below, kept, (size_t)(mapped->limit - kept));
    mapped->limit = kept;
}

/* Makes the region reach `missing` bytes further, where it lies; false when refused. */
static bool extend_region(struct page_source_mapped *mapped, size_t missing)
{
    size_t size = (size_t)(mapped->limit - mapped->start);
    size_t new_size = size + round_up(missing, STEP);
    if (!size || !mapped->below->extend(mapped->below, mapped->start, size, new_size))
        return false;
    mapped->limit = mapped->start + new_size;
    return true;
}

/* Maps another `size` bytes; false when refused. */
static bool map_region(struct page_source_mapped *mapped, size_t size)
{
    char *region = mapped->below->map(mapped->below, round_up(size, STEP));
    if (!region)
        return false;
    if (region != mapped->limit) {
        if (mapped->start)
            trim(mapped);
        mapped->start = mapped->end = region;
    }
    mapped->limit = region + round_up(size, STEP);
    return true;
}

static void *grow(struct page_source *self, size_t size)
{
    struct page_source_mapped *mapped = mapped_of(self);
    if (size > PTRDIFF_MAX)
        return NULL;
    size_t ready = (size_t)(mapped->limit - mapped->end);
    if (size > ready && !extend_region(mapped, size - ready) && !map_region(mapped, size))
        return NULL;
    mapped->end += size;
    return mapped->end - size;
}

static bool shrink(struct page_source *self, size_t size)
{
    struct page_source_mapped *mapped = mapped_of(self);
    if (size > (size_t)(mapped->end - mapped->start))
        return false;
    char *end = mapped->end;
    mapped->end -= size;
    trim(mapped);
    if (mapped->end == mapped->start)
        mapped->start = mapped->end = mapped->limit = NULL;
    else
        memset(mapped->end, 0, (size_t)((end < mapped->limit ? end : mapped->limit) - mapped->end));
    return true;
}

static void *map(struct page_source *self, size_t size)
{
    struct page_source *below = mapped_of(self)->below;
    return below->map(below, size);
}

static bool extend(struct page_source *self, void *region, size_t size, size_t new_size)
{
    struct page_source *below = mapped_of(self)->below;
    return below->extend(below, region, size, new_size);
}

static void unmap(struct page_source *self, void *region, size_t size)
{
    struct page_source *below = mapped_of(self)->below;
    below->unmap(below, region, size);
}

struct page_source *page_source_mapped(struct page_source_mapped *mapped,
                                       struct page_source *below)
{
    *mapped = (struct page_source_mapped){
        .source = { grow, shrink, map, extend, unmap },
        .below = below,
    };
    return &mapped->source;
}
