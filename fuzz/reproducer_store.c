/* ---- a small world for the subject: its own break, its own mapped pages ---- */

/* Read by reproducer.py, which writes it behind a subject's calls, reproducer.c behind it: it is no
 * program by itself.  Which pages are given is what allocator/harness/store.c would have given. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#undef main /* the subject may have one of its own, by another name then */

/* What this trace has no use for stands here all the same. */
#pragma GCC diagnostic ignored "-Wunused-function"

/* What is ours does not call __sanitizer_cov_trace_pc: see reproducer_rounds.c. */
#ifdef __clang__
#define QUIET __attribute__((no_sanitize("coverage")))
#else
#define QUIET __attribute__((no_sanitize_coverage))
#endif

/* Two areas at the addresses at which the trace was found, alignments depend on them: one for the
 * break, one for mapped regions.  No page is accessible that is not granted. */
enum { PAGE = 4096, MARGIN = 1 << 20, CANARY = 256, FOREIGNERS = 16, MAP_PAGES = 1 << 18 };
#define STORE_PAGES ((REPRODUCER_STORE + PAGE - 1) & ~(size_t)(PAGE - 1))
#define BASE ((void *)0x200000000000)
#define MAPS ((void *)0x210000000000)

__attribute__((unused)) static struct {
    unsigned char *start, *maps;
    unsigned char taken[MAP_PAGES]; /* of the pages at maps: granted or not */
    size_t broken_to, granted;
    unsigned long requests, denied; /* the request with the number `denied` is refused */
    int deny_all, denied_ever;
    struct {
        unsigned char *at;
        size_t size;
    } foreign[FOREIGNERS];
    int foreigners;
} world;

/* Threads that run freely are each at a step of their own. */
#ifdef REPRODUCER_LAPS
static _Thread_local int step;
#else
static int step;
#endif

__attribute__((format(printf, 2, 3), noreturn)) static void violated(const char *rule,
                                                                     const char *text, ...)
{
    char line[512];
    va_list rest;
    int used = snprintf(line, sizeof line, "violated: %s, operation %d: ", rule, step);
    va_start(rest, text);
    used += vsnprintf(line + used, sizeof line - (size_t)used - 1, text, rest);
    va_end(rest);
    line[used++] = '\n';
    if (write(1, line, (size_t)used) < 0)
        _exit(3);
    _exit(1);
}

static QUIET int is_rule(const char *rule)
{
    return strcmp(rule, REPRODUCER_RULE) == 0;
}

/* ---- pages ---- */

/* ThreadSanitizer has pages of its own everywhere: under it the subject gets the kernel's. */
#ifndef REPRODUCER_SANITIZED

static pthread_mutex_t world_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static QUIET void leave_world(const int *locked)
{
    (void)locked;
    (pthread_mutex_unlock)(&world_lock);
}

/* Until the end of the block in which it stands.  (A subject may have a macro of the name.) */
#define ALONE_IN_THE_WORLD \
    __attribute__((cleanup(leave_world), unused)) int alone = (pthread_mutex_lock)(&world_lock)

static void *reserve(void *preferred, size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *at = (void *)syscall(SYS_mmap, preferred, size, PROT_NONE, flags, -1, 0);
    if (at == MAP_FAILED)
        _exit(3);
    return at;
}

/* A library may ask for pages before main does. */
static QUIET void open_store(void)
{
    if (world.maps)
        return;
    unsigned char *base = reserve(BASE, PAGE + STORE_PAGES + MARGIN);
    world.start = base + PAGE;
    world.maps = reserve(MAPS, MAP_PAGES * (size_t)PAGE + PAGE);
    mprotect(world.start, STORE_PAGES, PROT_READ | PROT_WRITE);
    memset(world.start, 0xc5, CANARY);
}

static QUIET int refused(size_t size)
{
    world.requests++;
    return world.deny_all || world.requests == world.denied
        || size > REPRODUCER_STORE - world.granted;
}

static void deny(unsigned long turn)
{
    ALONE_IN_THE_WORLD;
    world.deny_all = turn == (unsigned long)-1;
    world.denied_ever |= turn != 0;
    world.denied = turn && !world.deny_all ? world.requests + turn : 0;
}

/* A few bytes above the break are watched, like those of somebody else below it. */
static QUIET void check_canaries(void)
{
    for (size_t i = 0; i < CANARY && world.broken_to + i < STORE_PAGES; i++)
        if (is_rule("bounds") && world.start[world.broken_to + i] != 0xc5)
            violated("bounds", "a byte above the break was written");
    for (int i = 0; i < world.foreigners; i++)
        for (size_t at = 0; at < world.foreign[i].size; at++)
            if (is_rule("bounds") && world.foreign[i].at[at] != 0xf0)
                violated("bounds", "a byte was written that is somebody else's");
}

static QUIET void move_break(size_t to)
{
    check_canaries();
    unsigned char *from = world.start + world.broken_to;
    size_t above = STORE_PAGES - to < CANARY ? STORE_PAGES - to : CANARY;
    if (to > world.broken_to)
        memset(from, 0, to - world.broken_to < CANARY ? to - world.broken_to : CANARY);
    else
        memset(world.start + to, 0, world.broken_to - to);
    world.broken_to = to;
    memset(world.start + to, 0xc5, above);
}

QUIET void *sbrk(intptr_t increment)
{
    ALONE_IN_THE_WORLD;
    open_store();
    void *old = world.start + world.broken_to;
    if (increment < 0 && (size_t)-increment > world.broken_to)
        return (void *)-1;
    if (increment > 0
        && (refused((size_t)increment) || (size_t)increment > STORE_PAGES - world.broken_to)) {
        errno = ENOMEM;
        return (void *)-1;
    }
    move_break(world.broken_to + (size_t)increment);
    world.granted += (size_t)increment;
    return old;
}

static void foreign(size_t size)
{
    ALONE_IN_THE_WORLD;
    unsigned char *at = world.start + world.broken_to;
    if (!size || size > STORE_PAGES - world.broken_to || world.foreigners == FOREIGNERS)
        return;
    move_break(world.broken_to + size);
    memset(at, 0xf0, size);
    world.foreign[world.foreigners].at = at;
    world.foreign[world.foreigners++].size = size;
}

QUIET int brk(void *end)
{
    ALONE_IN_THE_WORLD;
    open_store();
    return sbrk((unsigned char *)end - (world.start + world.broken_to)) == (void *)-1 ? -1 : 0;
}

/* ---- mapped regions: the lowest free run of pages, which is as good as any ---- */

static QUIET size_t pages_of(size_t size)
{
    return size / PAGE + (size % PAGE != 0);
}

/* Whether `count` pages from the number `first` on are in the area and all taken, or all not. */
static QUIET int all_are(size_t first, size_t count, int taken)
{
    if (first > MAP_PAGES || count > MAP_PAGES - first)
        return 0;
    for (size_t page = first; page < first + count; page++)
        if (world.taken[page] != taken)
            return 0;
    return 1;
}

/* The number of the page at `address`; MAP_PAGES where none starts there. */
static QUIET size_t page_at(const void *address)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)world.maps;
    return offset % PAGE || offset / PAGE > MAP_PAGES ? MAP_PAGES : offset / PAGE;
}

static QUIET void *give(size_t first, size_t count)
{
    void *at = world.maps + first * PAGE;
    memset(world.taken + first, 1, count);
    world.granted += count * PAGE;
    mprotect(at, count * PAGE, PROT_READ | PROT_WRITE);
    return at;
}

static QUIET void take_back(size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++) {
        world.granted -= world.taken[page] ? PAGE : 0;
        world.taken[page] = 0;
    }
    madvise(world.maps + first * PAGE, count * PAGE, MADV_DONTNEED); /* it will read zero */
    mprotect(world.maps + first * PAGE, count * PAGE, PROT_NONE);
}

static void *failed_map(int error)
{
    errno = error;
    return MAP_FAILED;
}

QUIET void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    ALONE_IN_THE_WORLD;
    open_store();
    (void)address, (void)protection, (void)file, (void)offset;
    size_t count = pages_of(size), first = 0;
    if (!size || (flags & MAP_FIXED) || !(flags & MAP_ANONYMOUS))
        return failed_map(EINVAL);
    if (refused(count < SIZE_MAX / PAGE ? count * PAGE : SIZE_MAX))
        return failed_map(ENOMEM);
    while (first < MAP_PAGES && !all_are(first, count, 0))
        first++;
    return first < MAP_PAGES ? give(first, count) : failed_map(ENOMEM);
}

QUIET int munmap(void *address, size_t size)
{
    ALONE_IN_THE_WORLD;
    size_t first = page_at(address);
    if (!size || pages_of(size) > MAP_PAGES - first) {
        errno = EINVAL;
        return -1;
    }
    take_back(first, pages_of(size));
    return 0;
}

/* Where it lies, if the pages behind it are free; elsewhere only where that is allowed. */
QUIET void *mremap(void *address, size_t size, size_t wanted, int flags, ...)
{
    ALONE_IN_THE_WORLD;
    size_t first = page_at(address), old = pages_of(size), new = pages_of(wanted);
    if (!wanted || (flags & ~MREMAP_MAYMOVE) || old > MAP_PAGES - first)
        return failed_map(EINVAL);
    if (new <= old) {
        take_back(first + new, old - new);
        return address;
    }
    if (all_are(first + old, new - old, 0)) {
        if (refused((new - old) * PAGE))
            return failed_map(ENOMEM);
        give(first + old, new - old);
        return address;
    }
    void *moved = flags & MREMAP_MAYMOVE ? mmap(NULL, wanted, 0, MAP_ANONYMOUS, -1, 0)
                                         : failed_map(ENOMEM);
    if (moved != MAP_FAILED) {
        memcpy(moved, address, old * PAGE);
        take_back(first, old);
    }
    return moved;
}

/* The malloc lab's memlib, for a subject that comes without it. */
__attribute__((weak)) void *reproducer_mem_sbrk(intptr_t increment) __asm__("mem_sbrk");
void *reproducer_mem_sbrk(intptr_t increment) { return sbrk((int)increment); }
__attribute__((weak)) void *reproducer_mem_heap_lo(void) __asm__("mem_heap_lo");
void *reproducer_mem_heap_lo(void) { return world.start; }
__attribute__((weak)) void *reproducer_mem_heap_hi(void) __asm__("mem_heap_hi");
void *reproducer_mem_heap_hi(void) { return world.start + world.broken_to - 1; }
__attribute__((weak)) size_t reproducer_mem_heapsize(void) __asm__("mem_heapsize");
size_t reproducer_mem_heapsize(void) { return world.broken_to; }
__attribute__((weak)) size_t reproducer_mem_pagesize(void) __asm__("mem_pagesize");
size_t reproducer_mem_pagesize(void) { return 4096; }
__attribute__((weak)) void reproducer_mem_init(void) __asm__("mem_init");
void reproducer_mem_init(void) { }

#else /* nothing is refused, nobody else moves the break */
static void deny(unsigned long turn) { (void)turn; }
static void foreign(size_t size) { (void)size; }
#endif
