/* The page source of a real process: sbrk for the contiguous area, mmap for regions. */
#define _GNU_SOURCE
#include "page_source_system.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define REFUSED ((void *)-1)

static char *end; /* of what grow() took last */

static void *grow(struct page_source *self, size_t size)
{
    (void)self;
    if (size > PTRDIFF_MAX)
        return NULL;
    char *start = sbrk((intptr_t)size);
    if (start == REFUSED)
        return NULL;
    end = start + size;
    return start;
}

/* Where somebody else has moved the break since, the last bytes are not ours to give back. */
static bool shrink(struct page_source *self, size_t size)
{
    (void)self;
    if (size > PTRDIFF_MAX || sbrk(0) != end || sbrk(-(intptr_t)size) == REFUSED)
        return false;
    end -= size;
    return true;
}

static void *map(struct page_source *self, size_t size)
{
    (void)self;
    void *region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return region == REFUSED ? NULL : region;
}

static void unmap(struct page_source *self, void *region, size_t size)
{
    (void)self;
    munmap(region, size);
}

struct page_source *page_source_system(void)
{
    static struct page_source system = { grow, shrink, map, unmap };
    return &system;
}
