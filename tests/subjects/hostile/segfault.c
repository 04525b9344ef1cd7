/* Fine for a while: then it writes through a pointer that it never set. */
#include <stddef.h>

static char memory[1 << 16];
static size_t used;
static int calls;
static int *volatile statistics;

void *seg_malloc(size_t size)
{
    if (++calls > 5)
        *statistics += 1;
    if (size > sizeof memory - used - 16)
        return NULL;
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void seg_free(void *block)
{
    (void)block;
}
