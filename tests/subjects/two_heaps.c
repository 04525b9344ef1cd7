/* Two allocators in one file: fast_ for short-lived memory, slow_ for the rest. */
#include <stddef.h>

static char fast_memory[8192], slow_memory[8192];
static size_t fast_used, slow_used;

static void *bump(char *memory, size_t *used, size_t size)
{
    if (size > 8192 - 16 - *used)
        return NULL;
    void *block = memory + *used;
    *used += (size + 15) & ~(size_t)15;
    return block;
}

void *fast_malloc(size_t size) { return bump(fast_memory, &fast_used, size); }
void fast_free(void *block) { (void)block; }
void *slow_malloc(size_t size) { return bump(slow_memory, &slow_used, size); }
void slow_free(void *block) { (void)block; }
