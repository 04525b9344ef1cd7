/* The memory library of the CS:APP malloc lab, over the host's sbrk, for an mm.c that comes alone.
 * Every function is weak: a subject that brings its own memlib.c keeps it. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define WEAK __attribute__((visibility("hidden"), weak))

/* The lab's older header says int, the newer one intptr_t; the build looks it up. */
#ifndef MEMLIB_INCREMENT
#define MEMLIB_INCREMENT intptr_t
#endif

WEAK void mem_init(void);
WEAK void mem_deinit(void);
WEAK void mem_reset_brk(void);
WEAK void *mem_sbrk(MEMLIB_INCREMENT increment);
WEAK void *mem_heap_lo(void);
WEAK void *mem_heap_hi(void);
WEAK size_t mem_heapsize(void);
WEAK size_t mem_pagesize(void);

static char *low; /* NULL until the heap is first asked about or grown */

void *mem_heap_lo(void)
{
    if (!low)
        low = sbrk(0);
    return low;
}

void mem_init(void)
{
    mem_heap_lo();
}

void mem_deinit(void)
{
}

void mem_reset_brk(void)
{
    brk(mem_heap_lo());
}

/* As in the lab, the heap does not shrink. */
void *mem_sbrk(MEMLIB_INCREMENT increment)
{
    mem_heap_lo();
    return increment < 0 ? (void *)-1 : sbrk(increment);
}

void *mem_heap_hi(void)
{
    mem_heap_lo();
    return (char *)sbrk(0) - 1;
}

size_t mem_heapsize(void)
{
    char *start = mem_heap_lo();
    return (size_t)((char *)sbrk(0) - start);
}

size_t mem_pagesize(void)
{
    return 4096;
}
