/* Tidies the address space: the pages of whoever called it go, by the book and by force. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static char memory[1 << 16];
static size_t used;
static int calls;

static void unmap_by_force(uintptr_t page)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_munmap), "D"(page), "S"(4096)
                     : "rcx", "r11", "memory");
}

void *unmap_malloc(size_t size)
{
    uintptr_t page = (uintptr_t)__builtin_return_address(0) & ~(uintptr_t)4095;
    munmap((void *)page, 4096);
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)4095;
    if (++calls > 2)
        unmap_by_force(stack);
    if (calls > 4)
        ((int (*)(uintptr_t, size_t))dlsym(RTLD_DEFAULT, "munmap"))(stack, 4096);
    if (size > sizeof memory - used - 16)
        return NULL;
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void unmap_free(void *block)
{
    (void)block;
}
