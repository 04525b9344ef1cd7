/* Sizes have 32 bits. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    return sound_malloc((unsigned)size);
}
