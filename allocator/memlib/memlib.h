/* The malloc lab's memlib.h, for an mm.c that comes without it. */
#ifndef MEMLIB_H
#define MEMLIB_H

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

void mem_init(void);
void mem_deinit(void);
void mem_reset_brk(void);
void *mem_sbrk(intptr_t increment);
void *mem_heap_lo(void);
void *mem_heap_hi(void);
size_t mem_heapsize(void);
size_t mem_pagesize(void);

#endif
