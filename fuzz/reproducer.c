/* ---- a small world for the subject: its own break, its own pages, its own blocks ---- */

/* Read by findings.py, which writes it between a subject's calls and a main: it is no program by
 * itself.  Everything that is checked here is checked in the plainest way. */
#include <errno.h>
#include <signal.h>
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

/* no access | the break's memory | no access | mapped pages, from the end down | no access */
enum { PAGE = 4096, MARGIN = 1 << 20, CANARY = 256, FOREIGNERS = 64 };
#define STORE_PAGES ((REPRODUCER_STORE + PAGE - 1) & ~(size_t)(PAGE - 1))
#define BASE ((void *)0x200000000000) /* where the trace was found: alignments depend on it */

static struct {
    unsigned char *start, *end;
    size_t broken_to, granted, mapped;
    unsigned long requests, denied; /* the request with the number `denied` is refused */
    int deny_all, denied_ever, finished;
    struct {
        unsigned char *at;
        size_t size;
    } foreign[FOREIGNERS];
    int foreigners;
} world;

#ifdef REPRODUCER_ARENA
static _Alignas(65536) unsigned char arena[REPRODUCER_ARENA];
#endif

static struct repro_block {
    unsigned char *at;
    size_t size, usable;
    int live;
} blocks[REPRODUCER_NAMES + 1];

static struct {
    size_t held[REPRODUCER_CYCLES + 1], capacity[REPRODUCER_CYCLES + 1];
    int count;
} cycles;

static int step;
static volatile sig_atomic_t expect_abort;

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

static int is_rule(const char *rule)
{
    return strcmp(rule, REPRODUCER_RULE) == 0;
}

/* Where an ending is only the way in which another rule is broken. */
static const char *rule_of_ending(const char *ending)
{
    return is_rule("oom") || is_rule("null") || is_rule("bounds") ? REPRODUCER_RULE : ending;
}

static void on_signal(int number)
{
    if (number == SIGABRT && expect_abort)
        _exit(write(1, "not reproduced: the misuse was detected\n", 40) < 0);
    const char *ending = number == SIGABRT ? "abort" : number == SIGALRM ? "hang" : "crash";
    violated(rule_of_ending(ending), "signal %d", number);
}

static void on_exit_called(void)
{
    if (!world.finished)
        violated(rule_of_ending("exit"), "exit was called");
}

/* ---- pages ---- */

static int refused(size_t size)
{
    world.requests++;
    return world.deny_all || world.requests == world.denied
        || size > REPRODUCER_STORE - world.granted;
}

static void deny(unsigned long turn)
{
    world.deny_all = turn == (unsigned long)-1;
    world.denied_ever |= turn != 0;
    world.denied = turn && !world.deny_all ? world.requests + turn : 0;
}

/* A few bytes above the break are watched, like those of somebody else below it. */
static void check_canaries(void)
{
    for (size_t i = 0; i < CANARY && world.broken_to + i < STORE_PAGES; i++)
        if (is_rule("bounds") && world.start[world.broken_to + i] != 0xc5)
            violated("bounds", "a byte above the break was written");
    for (int i = 0; i < world.foreigners; i++)
        for (size_t at = 0; at < world.foreign[i].size; at++)
            if (is_rule("bounds") && world.foreign[i].at[at] != 0xf0)
                violated("bounds", "a byte was written that is somebody else's");
}

static void move_break(size_t to)
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

void *sbrk(intptr_t increment)
{
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
    unsigned char *at = world.start + world.broken_to;
    if (!size || size > STORE_PAGES - world.broken_to || world.foreigners == FOREIGNERS)
        return;
    move_break(world.broken_to + size);
    memset(at, 0xf0, size);
    world.foreign[world.foreigners].at = at;
    world.foreign[world.foreigners++].size = size;
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    (void)address, (void)protection, (void)flags, (void)file, (void)offset;
    size = (size + 4095) & ~(size_t)4095;
    if (refused(size) || size > STORE_PAGES - world.mapped) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    world.mapped += size; /* from the upper end down; never given again */
    world.granted += size;
    return world.end - world.mapped;
}

int munmap(void *address, size_t size)
{
    (void)address;
    world.granted -= size < world.granted ? size : world.granted;
    return 0;
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

/* ---- blocks ---- */

static unsigned char pattern(int name, size_t at)
{
    return (unsigned char)(name * 37 + (int)(at % 251) + 1);
}

/* Large blocks are filled and checked at their ends. */
static size_t next_byte(size_t at, size_t size)
{
    return size > 1 << 20 && at == 65536 ? size - 65536 : at + 1;
}

static void fill(int name)
{
    for (size_t at = 0; at < blocks[name].usable; at = next_byte(at, blocks[name].usable))
        blocks[name].at[at] = pattern(name, at);
}

static void verify(const char *rule, int name, int pattern_of, size_t size)
{
    for (size_t at = 0; at < size; at = next_byte(at, size))
        if (blocks[name].at[at] != pattern(pattern_of, at))
            violated(rule, "byte %zu of p%d is not what was written", at, name);
}

static void check(int name)
{
    if (blocks[name].live)
        verify("content", name, name, blocks[name].usable);
}

/* Inside what the subject was given; its own static data is not known here. */
static int is_inside(const unsigned char *at, size_t size)
{
    const unsigned char *end = world.end;
    for (int i = 0; i < world.foreigners; i++)
        if (at < world.foreign[i].at + world.foreign[i].size && world.foreign[i].at < at + size)
            return 0;
    if (at >= world.start && at <= world.start + world.broken_to)
        return size <= (size_t)(world.start + world.broken_to - at);
    if (at >= end - world.mapped && at <= end)
        return size <= (size_t)(end - at);
#ifdef REPRODUCER_ARENA
    if (at >= arena && at <= arena + REPRODUCER_ARENA)
        return size <= (size_t)(arena + REPRODUCER_ARENA - at);
#endif
    return 0;
}

static int is_live(int name)
{
    return blocks[name].live;
}

/* A block of 0 bytes is one of its own where that is promised, and is no business elsewhere. */
static void check_empty_blocks(int name, const unsigned char *at, size_t size)
{
    for (int other = 0; other < REPRODUCER_NAMES && REPRODUCER_ZERO > 0; other++) {
        const struct repro_block *block = &blocks[other];
        if (!block->live || (size && block->size))
            continue;
        if (at == block->at || (at < block->at && (size_t)(block->at - at) < size)
            || (block->at < at && (size_t)(at - block->at) < block->size))
            violated("zero_size", "p%d and p%d are not apart", name, other);
    }
}

static void take_in(int name, void *address, size_t size, size_t alignment)
{
    unsigned char *at = address;
    check_empty_blocks(name, at, size);
    if (size > PTRDIFF_MAX)
        violated("refusal", "%zu bytes were granted", size);
    if ((is_rule("bounds") || is_rule("oom") || is_rule("refusal")) && !is_inside(at, size))
        violated(REPRODUCER_RULE, "%zu bytes at %p are not in given memory", size, address);
    if (alignment && (size_t)at % alignment)
        violated("alignment", "%p is not aligned to %zu", address, alignment);
    for (int other = 0; other < REPRODUCER_NAMES; other++)
        if (blocks[other].live && size && blocks[other].size
            && at < blocks[other].at + blocks[other].size && blocks[other].at < at + size)
            violated("overlap", "p%d and p%d share bytes", name, other);
    size_t usable = size;
#ifdef REPRODUCER_USABLE
    if (REPRODUCER_USABLE(address) < size)
        violated("usable", "usable_size says %zu of %zu", REPRODUCER_USABLE(address), size);
    if (REPRODUCER_WRITABLE)
        usable = REPRODUCER_USABLE(address);
#endif
    blocks[name] = (struct repro_block){ at, size, usable, 1 };
    cycles.capacity[cycles.count] += size;
}

/* A heap without a live block must give again what an empty heap gave before. */
static void note_recovery(const void *address, size_t size)
{
    static size_t largest;
    for (int name = 0; name < REPRODUCER_NAMES; name++)
        if (blocks[name].live)
            return;
    if (address && size > largest)
        largest = size;
    if (!address && size && size <= largest && !world.deny_all && !world.denied
        && (is_rule("reclaim") || (is_rule("oom") && world.denied_ever)))
        violated(REPRODUCER_RULE, "%zu bytes failed with nothing live, %zu were granted before",
                 size, largest);
}

/* A NULL that a malloc right behind it proves wrong; `size` 0: any malloc does. */
static struct {
    const char *rule;
    size_t size;
} doubt;

static void doubt_null(const char *rule, const void *address, size_t size)
{
    doubt.rule = address ? NULL : rule;
    doubt.size = size;
}

static void settle_doubt(const void *address, size_t size)
{
    if (doubt.rule && address && size && (!doubt.size || doubt.size == size))
        violated(doubt.rule, "NULL was returned, and malloc(%zu) right behind it succeeded", size);
    doubt.rule = NULL;
}

static void granted(int name, void *address, size_t size, size_t alignment)
{
    if (!size && REPRODUCER_ZERO && (REPRODUCER_ZERO > 0) == !address)
        violated("zero_size", "a request of 0 bytes gave %p", address);
    note_recovery(address, size);
    if (!address)
        return;
    take_in(name, address, size, alignment);
    fill(name);
}

static void cleared(int name, void *address, size_t count, size_t size, size_t alignment)
{
    size_t product;
    if (!address)
        return;
    if (__builtin_mul_overflow(count, size, &product))
        violated("refusal", "%zu * %zu bytes were granted", count, size);
    take_in(name, address, product, alignment);
    for (size_t at = 0; at < product; at = next_byte(at, product))
        if (blocks[name].at[at])
            violated("zeroed", "byte %zu of p%d is not zero", at, name);
    fill(name);
}

static void resized(int name, int old, void *address, size_t size, size_t alignment)
{
    size_t kept = blocks[old].size < size ? blocks[old].size : size;
    if (!address && size) {
        verify("survival", old, old, blocks[old].usable);
        return;
    }
    blocks[old].live = 0;
    if (!address)
        return;
    take_in(name, address, size, alignment);
    verify("prefix", name, old, kept);
    fill(name);
}

static void invariant(void)
{
#ifdef REPRODUCER_CHECK /* where the rule is one that the predicate speaks of */
    const char *broken = REPRODUCER_CHECK();
    if (broken)
        violated(broken, "the allocator's own validity predicate objects");
#endif
}

static void open_world(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGALRM };
    static char stack[1 << 16];
    stack_t own = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
    sigaltstack(&own, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    size_t whole = PAGE + 2 * (size_t)MARGIN + 2 * STORE_PAGES;
    unsigned char *base = (unsigned char *)syscall(SYS_mmap, BASE, whole, PROT_NONE, flags, -1, 0);
    world.start = base + PAGE;
    world.end = base + whole - MARGIN;
    mprotect(world.start, STORE_PAGES, PROT_READ | PROT_WRITE);
    mprotect(world.end - STORE_PAGES, STORE_PAGES, PROT_READ | PROT_WRITE);
    memset(world.start, 0xc5, CANARY);
    atexit(on_exit_called);
    alarm(10);
}

/* ---- cycles: what is to be judged by their repetition ---- */

static void end_cycle(void)
{
    cycles.held[cycles.count] = world.granted;
    cycles.count += cycles.count < REPRODUCER_CYCLES;
    cycles.capacity[cycles.count] = 0;
}

static void compare_cycles(void)
{
    int last = cycles.count - 1, half = cycles.count / 2;
    if (is_rule("footprint") && last > half && cycles.held[last] > cycles.held[half])
        violated("footprint", "%zu bytes held after cycle %d, %zu after cycle %d",
                 cycles.held[half], half, cycles.held[last], last);
    if (is_rule("reclaim") && last > 2 && cycles.capacity[last] < cycles.capacity[2])
        violated("reclaim", "%zu bytes granted in cycle 2, %zu in cycle %d", cycles.capacity[2],
                 cycles.capacity[last], last);
}

static int close_world(void)
{
    step++;
    for (int name = 0; name < REPRODUCER_NAMES; name++)
        check(name);
    check_canaries();
    compare_cycles();
    world.finished = 1;
    return write(1, "not reproduced\n", 15) < 0;
}
