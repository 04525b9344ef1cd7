/* Gives up when it has no more memory, as programs do and libraries must not. */
#include <stdio.h>
#include <stdlib.h>

static char memory[4096];
static size_t used;

void *quit_malloc(size_t size)
{
    if (size > sizeof memory - used) {
        exit(3);
    }
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void quit_free(void *block)
{
    (void)block;
}
