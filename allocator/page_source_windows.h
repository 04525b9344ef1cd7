/* Pages from Windows, by VirtualAlloc.
 *
 * A region is a reservation of address space, 64 MiB or what is asked for if that is more, of
 * which only the pages in use are committed; extend() commits further ones, so it is refused only
 * where the reservation or the memory ends.  The contiguous area is made of such regions: see
 * page_source_mapped.h, also for where it may lie.
 */
#ifndef PAGE_SOURCE_WINDOWS_H
#define PAGE_SOURCE_WINDOWS_H

#include "page_source.h"

/* There is one process, so there is one of it. */
struct page_source *page_source_windows(void);

#endif
