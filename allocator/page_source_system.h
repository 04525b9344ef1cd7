/* Pages from the operating system, by sbrk and mmap. */
#ifndef PAGE_SOURCE_SYSTEM_H
#define PAGE_SOURCE_SYSTEM_H

#include "page_source.h"

/* There is one process, so there is one of it. */
struct page_source *page_source_system(void);

#endif
