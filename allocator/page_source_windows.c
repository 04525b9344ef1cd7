/* The implementation of page_source_windows.h; needs page_source_mapped.c beside it. */
#include "page_source_windows.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "page_source_mapped.h"

#define RESERVATION ((size_t)64 << 20)
/* Reserved below each region and never used, lest one region begin where another ends: nothing can
 * be done in one call to pages of two reservations. */
enum { GUARD = 4096 };

/* The break does not exist here: page_source_mapped.c brings grow() and shrink(). */
static void *no_grow(struct page_source *self, size_t size)
{
    (void)self, (void)size;
    return NULL;
}

static bool no_shrink(struct page_source *self, size_t size)
{
    (void)self, (void)size;
    return false;
}

static void *map(struct page_source *self, size_t size)
{
    (void)self;
    size_t reserved = GUARD + (size > RESERVATION ? size : RESERVATION);
    char *reservation = VirtualAlloc(NULL, reserved, MEM_RESERVE, PAGE_NOACCESS);
    if (!reservation)
        return NULL;
    char *region = VirtualAlloc(reservation + GUARD, size, MEM_COMMIT, PAGE_READWRITE);
    if (!region)
        VirtualFree(reservation, 0, MEM_RELEASE);
    return region;
}

/* Committing beyond the reservation fails as a whole. */
static bool extend(struct page_source *self, void *region, size_t size, size_t new_size)
{
    (void)self;
    return VirtualAlloc((char *)region + size, new_size - size, MEM_COMMIT, PAGE_READWRITE) != NULL;
}

/* Pages at the end are decommitted; a region from its first page on is released whole. */
static void unmap(struct page_source *self, void *region, size_t size)
{
    (void)self;
    MEMORY_BASIC_INFORMATION known;
    if (!VirtualQuery(region, &known, sizeof known))
        return;
    if (region == (char *)known.AllocationBase + GUARD)
        VirtualFree(known.AllocationBase, 0, MEM_RELEASE);
    else
        VirtualFree(region, size, MEM_DECOMMIT);
}

struct page_source *page_source_windows(void)
{
    static struct page_source native = { no_grow, no_shrink, map, extend, unmap };
    static struct page_source_mapped mapped;
    if (!mapped.below)
        page_source_mapped(&mapped, &native);
    return &mapped.source;
}
