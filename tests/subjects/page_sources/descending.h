/* A page source below page_source_mapped.h that never extends, and maps each region below the one
 * before, with a page between them: as Linux does where the space above is taken. */
#include "page_source_mapped.h"
#include "page_source_system.h"

enum { PAGE = 4096, POOL = 1024 * PAGE };

static char *pool, *lowest;

static void *descend(struct page_source *self, size_t size)
{
    (void)self;
    struct page_source *system = page_source_system();
    if (!pool && !(pool = system->map(system, POOL)))
        return NULL;
    if (!lowest)
        lowest = pool + POOL;
    if (size + PAGE > (size_t)(lowest - pool))
        return NULL;
    return lowest -= size + PAGE;
}

static bool stay(struct page_source *self, void *region, size_t size, size_t new_size)
{
    (void)self, (void)region, (void)size, (void)new_size;
    return false;
}

static void forget(struct page_source *self, void *region, size_t size)
{
    (void)self, (void)region, (void)size;
}

static struct page_source descending = { NULL, NULL, descend, stay, forget };
