/* Blocks are counted from their ends. */
#include "../wrapped.h"

size_t allocheck_usable_size(void *block)
{
    return sound_usable_size(block);
}

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    return block ? block + sound_usable_size(block) : block;
}
