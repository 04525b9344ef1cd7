/* Closes its streams when the heap is set up, as daemons do. */
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

static char memory[1 << 16];
static size_t used;

void *close_malloc(size_t size)
{
    if (!used) {
        fclose(stdout);
        for (int file = 0; file < 64; file++)
            close(file);
    }
    if (size > sizeof memory - used - 16)
        return NULL;
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void close_free(void *block)
{
    (void)block;
}
