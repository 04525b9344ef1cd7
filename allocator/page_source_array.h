/* Pages from an array that the program gives: no operating system needed.
 *
 *      start                   end                        limit
 *      | given to the allocator | not given yet ..........|
 *
 * grow() hands the array out from its lowest byte up and clears what it gives, so the array may be
 * at any address, of any size, and hold anything.  There is nothing in it to map: map() and
 * extend() refuse.
 */
#ifndef PAGE_SOURCE_ARRAY_H
#define PAGE_SOURCE_ARRAY_H

#include "page_source.h"

struct page_source_array {
    struct page_source source;
    char *start;
    char *end;
    char *limit;
};

/* Makes `array` a page source over the `size` bytes at `memory`, which it then owns.  The pointer
 * returned is to `array` itself: it must stay where it is as long as the source is used. */
struct page_source *page_source_array(struct page_source_array *array, void *memory, size_t size);

#endif
