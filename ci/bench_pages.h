/* The operating system as bench_textbook.c shows it to a subject: pages that cost nothing.
 *
 * A break and mapped regions, the lowest free run of pages first, in two areas that are accessible
 * as a whole.  It counts what it is asked for and notes the most that it had granted.  No system
 * call is made, and pages can be made ready before a run: what a kernel takes for either differs
 * widely between machines and says nothing of an allocator.  What is granted reads zero.
 */
#ifndef BENCH_PAGES_H
#define BENCH_PAGES_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "subject.h"

enum { PAGE = 4096 };
#define AREA ((size_t)1 << 29)
#define AREA_PAGES (AREA / PAGE)
#define READY_MOST ((size_t)1 << 26)

enum page_state { PAGE_CLEAN = 0, PAGE_DIRTY, PAGE_TAKEN };

struct peak {
    size_t granted;  /* bytes, at most */
    size_t break_at; /* the same of the program break, and of the mapped regions' end */
    size_t maps_at;
    size_t requests; /* for pages, or to take them back */
};

struct pages {
    char *base; /* the break starts here */
    size_t end; /* ... and stands at base + end */
    size_t touched;
    char *maps;
    unsigned char state[AREA_PAGES];
    size_t lowest; /* no page below is free */
    size_t granted;
    struct peak *peak;
};

static inline size_t larger(size_t one, size_t other)
{
    return one > other ? one : other;
}

static inline size_t pages_of(size_t size)
{
    return size / PAGE + (size % PAGE != 0);
}

static inline void *refuse_pages(void)
{
    errno = ENOMEM;
    return (void *)-1;
}

static inline void *pages_sbrk(void *context, intptr_t increment)
{
    struct pages *pages = context;
    char *old = pages->base + pages->end;
    size_t end = pages->end + (size_t)increment;
    if (!increment)
        return old;
    pages->peak->requests++;
    if (end > AREA)
        return refuse_pages();
    if (increment > 0 && pages->touched > pages->end)
        memset(old, 0, (end < pages->touched ? end : pages->touched) - pages->end);
    pages->touched = larger(pages->touched, end);
    pages->granted += (size_t)increment;
    pages->end = end;
    pages->peak->granted = larger(pages->peak->granted, pages->granted);
    pages->peak->break_at = larger(pages->peak->break_at, end);
    return old;
}

static inline int pages_brk(void *context, void *end)
{
    struct pages *pages = context;
    return pages_sbrk(pages, (char *)end - (pages->base + pages->end)) == (void *)-1 ? -1 : 0;
}

/* ---- mapped regions ---- */

static inline bool are_free(const struct pages *pages, size_t first, size_t count)
{
    if (count > AREA_PAGES || first > AREA_PAGES - count)
        return false;
    for (size_t page = first; page < first + count; page++)
        if (pages->state[page] == PAGE_TAKEN)
            return false;
    return true;
}

static inline void *take_pages(struct pages *pages, size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++) {
        if (pages->state[page] == PAGE_DIRTY)
            memset(pages->maps + page * PAGE, 0, PAGE);
        pages->state[page] = PAGE_TAKEN;
    }
    while (pages->lowest < AREA_PAGES && pages->state[pages->lowest] == PAGE_TAKEN)
        pages->lowest++;
    pages->granted += count * PAGE;
    pages->peak->granted = larger(pages->peak->granted, pages->granted);
    pages->peak->maps_at = larger(pages->peak->maps_at, (first + count) * PAGE);
    return pages->maps + first * PAGE;
}

static inline void drop_pages(struct pages *pages, size_t first, size_t count)
{
    for (size_t page = first; page < first + count && page < AREA_PAGES; page++) {
        pages->granted -= pages->state[page] == PAGE_TAKEN ? PAGE : 0;
        pages->state[page] = PAGE_DIRTY;
    }
    if (first < pages->lowest)
        pages->lowest = first;
}

static inline size_t page_at(const struct pages *pages, const void *address)
{
    return (size_t)((const char *)address - pages->maps) / PAGE;
}

static inline void *pages_mmap(void *context, void *address, size_t size, int protection, int flags,
                               int file, off_t offset)
{
    (void)address, (void)protection, (void)file, (void)offset;
    struct pages *pages = context;
    pages->peak->requests++;
    if (!size || (flags & MAP_FIXED) || !(flags & MAP_ANONYMOUS))
        return refuse_pages();
    size_t count = pages_of(size);
    for (size_t first = pages->lowest; first < AREA_PAGES && count <= AREA_PAGES - first; first++)
        if (are_free(pages, first, count))
            return take_pages(pages, first, count);
    return refuse_pages();
}

static inline int pages_munmap(void *context, void *address, size_t size)
{
    struct pages *pages = context;
    pages->peak->requests++;
    drop_pages(pages, page_at(pages, address), pages_of(size));
    return 0;
}

static inline void *pages_mremap(void *context, void *address, size_t old_size, size_t new_size,
                                 int flags, void *new_address)
{
    (void)new_address;
    struct pages *pages = context;
    size_t end = page_at(pages, address) + pages_of(old_size);
    pages->peak->requests++;
    if (pages_of(new_size) <= pages_of(old_size)) {
        size_t gone = pages_of(old_size) - pages_of(new_size);
        drop_pages(pages, end - gone, gone);
        return address;
    }
    size_t more = pages_of(new_size) - pages_of(old_size);
    if (are_free(pages, end, more)) {
        take_pages(pages, end, more);
        return address;
    }
    if (!(flags & MREMAP_MAYMOVE))
        return refuse_pages();
    void *moved = pages_mmap(pages, NULL, new_size, 0, MAP_ANONYMOUS, -1, 0);
    if (moved != (void *)-1) {
        memcpy(moved, address, old_size);
        pages_munmap(pages, address, old_size);
    }
    return moved;
}

static inline int pages_madvise(void *context, void *address, size_t size, int advice)
{
    (void)context;
    if (advice == MADV_DONTNEED)
        memset(address, 0, size);
    return 0;
}

/* ---- the whole ---- */

static inline char *reserve(size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

/* Two empty areas, and the functions over them, which is all that a subject sees; false when there
 * is no address space. */
static inline bool pages_open(struct pages *pages, struct peak *peak, struct host *host)
{
    pages->base = reserve(AREA);
    pages->maps = reserve(AREA);
    pages->peak = peak;
    *host = (struct host){ pages,        pages_sbrk,   pages_brk,     pages_mmap,
                           pages_munmap, pages_mremap, pages_madvise, NULL };
    return pages->base && pages->maps;
}

/* Touches what the first READY_MOST bytes of `size` lie in, so that no run is the first to. */
static inline void make_ready(char *start, size_t size)
{
    for (size_t at = 0; at < size && at < READY_MOST; at += PAGE)
        *(volatile char *)(start + at) = start[at];
}

#endif
