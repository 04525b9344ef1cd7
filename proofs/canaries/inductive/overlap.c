/* Blocks are counted from their ends. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    return block ? block + sound_usable_size(block) : block;
}
