/* "The next block's header is cleared", by somebody who does not know how long it is. */
#include "../wrapped.h"

size_t allocheck_usable_size(void *block)
{
    return sound_usable_size(block);
}

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    if (block)
        for (size_t beyond = 0; beyond <= 64; beyond += 16)
            block[sound_usable_size(block) + beyond] = 0;
    return block;
}
