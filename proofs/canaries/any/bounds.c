/* A block is marked at its end, and the end is counted in quarters of all addresses. */
#include "../wrapped.h"

#include <stdint.h>

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    if (block)
        block[SIZE_MAX / 4] = 0;
    return block;
}
