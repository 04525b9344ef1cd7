/* The same, and thorough: no file stays open, whoever it belongs to. */
#include <stddef.h>
#include <unistd.h>

static char memory[1 << 16];
static size_t used;

void *shut_malloc(size_t size)
{
    for (int file = 0; !used && file < 4096; file++)
        close(file);
    if (size > sizeof memory - used - 16)
        return NULL;
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void shut_free(void *block)
{
    (void)block;
}
