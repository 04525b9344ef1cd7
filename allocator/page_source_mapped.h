/* A contiguous area made of mapped regions, for where there is no program break to move.
 *
 *      start                    end                  limit
 *      | given to the allocator | mapped, reads zero |
 *      ^ the region, of whole pages, from the page source below
 *
 * grow() takes from the region what is there.  What is missing it gets by extending the region
 * where it lies, in steps of four pages, and where that is refused by mapping another one.  One
 * that begins at the limit joins the region; any other takes its place: the old region's whole
 * unused pages are unmapped, what was given of it stays with the allocator, and is no longer part
 * of the contiguous area.  shrink() unmaps the whole pages it frees, and clears the rest.
 *
 * Unlike page_source.h says, a new region may lie anywhere, lower too: an allocator on this page
 * source must take memory from wherever it comes, as first_fit does.
 */
#ifndef PAGE_SOURCE_MAPPED_H
#define PAGE_SOURCE_MAPPED_H

#include "page_source.h"

struct page_source_mapped {
    struct page_source source;
    struct page_source *below;
    char *start;
    char *end;
    char *limit;
};

/* Makes `mapped` a page source whose grow() and shrink() use only map, extend and unmap of `below`;
 * its own map, extend and unmap are those of `below`.  The pointer returned is to `mapped` itself:
 * it must stay where it is as long as the source is used. */
struct page_source *page_source_mapped(struct page_source_mapped *mapped,
                                       struct page_source *below);

#endif
