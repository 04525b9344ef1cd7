/* A block is marked at its end, and the end is counted in units of 16 TiB. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    if (block)
        block[(size_t)1 << 44] = 0;
    return block;
}
