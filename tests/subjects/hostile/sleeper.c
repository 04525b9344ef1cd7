/* Waits for memory to come back when it has none. */
#include <stddef.h>
#include <unistd.h>

static char memory[4096];
static size_t used;

void *sleep_malloc(size_t size)
{
    while (size > sizeof memory - used)
        pause();
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void sleep_free(void *block)
{
    (void)block;
}
