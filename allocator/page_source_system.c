/* The page source of a real process: sbrk for the contiguous area, mmap for regions. */
#define _GNU_SOURCE
#include "page_source_system.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REFUSED ((void *)-1)
enum { PAGE = MEM_PAGE };

/* What grow() gave without a gap since somebody else moved the break last. */
static char *start, *end;

/* A page that the break was moved back through is the kernel's only in part: it comes as it was. */
static void clear_old_page(char *memory, size_t size)
{
    size_t rest = -(uintptr_t)memory % PAGE;
    memset(memory, 0, rest < size ? rest : size);
}

static void *grow(struct page_source *self, size_t size)
{
    (void)self;
    if (size > PTRDIFF_MAX)
        return NULL;
    char *memory = sbrk((intptr_t)size);
    if (memory == REFUSED)
        return NULL;
    if (memory != end)
        start = memory;
    end = memory + size;
    clear_old_page(memory, size);
    return memory;
}

/* Where somebody else has moved the break since, the last bytes are not ours to give back, nor is
 * what lies below the last gap. */
static bool shrink(struct page_source *self, size_t size)
{
    (void)self;
    if (size > (size_t)(end - start) || sbrk(0) != end || sbrk(-(intptr_t)size) == REFUSED)
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

static bool extend(struct page_source *self, void *region, size_t size, size_t new_size)
{
    (void)self;
    return mremap(region, size, new_size, 0) != REFUSED;
}

static void unmap(struct page_source *self, void *region, size_t size)
{
    (void)self;
    munmap(region, size);
}

struct page_source *page_source_system(void)
{
    static struct page_source system = { grow, shrink, map, extend, unmap };
    return &system;
}
