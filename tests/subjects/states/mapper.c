/* Maps by itself, by name and by an instruction of its own, and unmaps some of it again. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t calls;

static void *map_by_instruction(size_t size)
{
    register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS;
    register long file __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    long start;
    __asm__ volatile("syscall"
                     : "=a"(start)
                     : "a"(SYS_mmap), "D"(0), "S"(size), "d"(PROT_READ | PROT_WRITE), "r"(flags),
                       "r"(file), "r"(offset)
                     : "rcx", "r11", "memory");
    return (unsigned long)start > -4096UL ? MAP_FAILED : (void *)start;
}

void *map_malloc(size_t size)
{
    if (size > 1 << 20)
        return NULL;
    size += 16;
    void *start = ++calls % 2 ? map_by_instruction(size)
                              : mmap(NULL, size, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    *(size_t *)start = size;
    return (char *)start + 16;
}

void map_free(void *block)
{
    size_t *start = block ? (size_t *)((char *)block - 16) : NULL;
    if (start && calls % 3)
        munmap(start, *start);
}
