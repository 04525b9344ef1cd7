/* Compiled into every subject's library: the operating system as the subject is to see it.
 *
 * The library is linked so that its own definitions win.  So the names below, all hidden, take
 * the subject's calls of sbrk, mmap, exit and the like to the host that bind() was given.  All are
 * weak, to give way to the subject's own: an allocator that simulates sbrk on an array, or defines
 * malloc, meets its own; a pool that gets its memory from malloc meets ours, on the host's mmap.
 */
#define _GNU_SOURCE
#include "bind.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REFUSED ((void *)-1)

static const struct host *host;

extern WEAK unsigned char __start___sancov_cntrs[], __stop___sancov_cntrs[];

WEAK const char *allocheck_open_library(void);

const char *allocheck_bind(const struct host *given)
{
    host = given;
    allocheck_subject.counters_start = __start___sancov_cntrs;
    allocheck_subject.counters_end = __stop___sancov_cntrs;
    return allocheck_open_library ? allocheck_open_library() : NULL;
}

/* Only a constructor of the subject can call before bind(): there is no memory yet. */
static int is_refused(void)
{
    if (!host)
        errno = ENOMEM;
    return !host;
}

/* ---- the operating system ---- */

WEAK void *sbrk(intptr_t increment)
{
    return is_refused() ? REFUSED : host->sbrk(host->context, increment);
}

WEAK int brk(void *end)
{
    return is_refused() ? -1 : host->brk(host->context, end);
}

WEAK void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    if (is_refused())
        return REFUSED;
    return host->mmap(host->context, address, size, protection, flags, file, offset);
}

WEAK void *mmap64(void *address, size_t size, int protection, int flags, int file, off64_t offset)
{
    return mmap(address, size, protection, flags, file, offset);
}

WEAK int munmap(void *address, size_t size)
{
    return is_refused() ? -1 : host->munmap(host->context, address, size);
}

WEAK void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...)
{
    void *new_address = NULL;
    if (flags & MREMAP_FIXED) {
        va_list rest;
        va_start(rest, flags);
        new_address = va_arg(rest, void *);
        va_end(rest);
    }
    if (is_refused())
        return REFUSED;
    return host->mremap(host->context, address, old_size, new_size, flags, new_address);
}

WEAK int madvise(void *address, size_t size, int advice)
{
    return is_refused() ? -1 : host->madvise(host->context, address, size, advice);
}

WEAK int mprotect(void *address, size_t size, int protection)
{
    return is_refused() ? -1 : host->mprotect(host->context, address, size, protection);
}

const struct host *allocheck_host(void)
{
    return host;
}

/* ---- malloc, for subjects that call one without having it ----
 *
 * A block of up to 2032 bytes is a cell of a page cut into powers of two; freed, it is kept for
 * its class.  A larger one has a mapping of its own.  What is known of a block lies before it. */

enum { UNIT = 16, CLASSES = 7, SMALLEST = 32, PAGE_SIZE = 4096 };

struct cell {
    size_t span; /* bytes of the mapping, or the class (below CLASSES) */
    void *link;  /* where the mapping starts; the next free cell of the class */
};

static struct cell *cells[CLASSES];

/* Between them lie all our blocks, and no block of the C library's own malloc, which strdup and
 * the like hand out. */
static char *lowest, *highest;
void __libc_free(void *block);
void *__libc_realloc(void *block, size_t size);

static int is_ours(const void *block)
{
    return (const char *)block >= lowest && (const char *)block < highest;
}

static size_t cell_size(size_t class)
{
    return (size_t)SMALLEST << class;
}

static void *map_pages(size_t size)
{
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == REFUSED)
        return NULL;
    if (!lowest || pages < lowest)
        lowest = pages;
    if (pages + size > highest)
        highest = pages + size;
    return pages;
}

static int cut_page(size_t class)
{
    char *page = map_pages(PAGE_SIZE);
    for (size_t at = 0; page && at < PAGE_SIZE; at += cell_size(class)) {
        struct cell *cell = (struct cell *)(page + at);
        *cell = (struct cell){ class, cells[class] };
        cells[class] = cell;
    }
    return page != NULL;
}

static void *map_block(size_t alignment, size_t size)
{
    size_t span = (size + UNIT + alignment + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
    char *start = map_pages(span);
    if (!start)
        return NULL;
    char *block = start + UNIT;
    block += -(uintptr_t)block & (alignment - 1);
    *(struct cell *)(block - UNIT) = (struct cell){ span, start };
    return block;
}

static void *obtain(size_t alignment, size_t size)
{
    if (size > PTRDIFF_MAX / 4 || alignment > PTRDIFF_MAX / 4) {
        errno = ENOMEM;
        return NULL;
    }
    size_t class = 0;
    while (class < CLASSES && cell_size(class) < size + UNIT)
        class++;
    if (class == CLASSES || alignment > UNIT)
        return map_block(alignment > UNIT ? alignment : 1, size);
    if (!cells[class] && !cut_page(class))
        return NULL;
    struct cell *cell = cells[class];
    cells[class] = cell->link;
    return (char *)cell + UNIT;
}

static struct cell *cell_of(const void *block)
{
    return (struct cell *)((char *)block - UNIT);
}

static void give_back(void *block)
{
    struct cell *cell = cell_of(block);
    if (cell->span >= CLASSES) {
        munmap(cell->link, cell->span);
        return;
    }
    cell->link = cells[cell->span];
    cells[cell->span] = cell;
}

static size_t room_of(const void *block)
{
    const struct cell *cell = cell_of(block);
    if (cell->span < CLASSES)
        return cell_size(cell->span) - UNIT;
    return (size_t)((char *)cell->link + cell->span - (const char *)block);
}

WEAK void *malloc(size_t size)
{
    return obtain(1, size);
}

WEAK void free(void *block)
{
    if (is_ours(block))
        give_back(block);
    else
        __libc_free(block);
}

WEAK void *calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = obtain(1, total);
    return block ? memset(block, 0, total) : NULL;
}

WEAK void *realloc(void *block, size_t size)
{
    if (block && !is_ours(block))
        return __libc_realloc(block, size);
    if (block && room_of(block) >= size)
        return block;
    void *moved = obtain(1, size);
    if (moved && block) {
        memcpy(moved, block, room_of(block));
        give_back(block);
    }
    return moved;
}

static int is_power_of_two(size_t n)
{
    return n && !(n & (n - 1));
}

WEAK void *aligned_alloc(size_t alignment, size_t size)
{
    if (is_power_of_two(alignment))
        return obtain(alignment, size);
    errno = EINVAL;
    return NULL;
}

WEAK int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    void *block = obtain(alignment, size);
    if (block)
        *result = block;
    return block ? 0 : ENOMEM;
}
