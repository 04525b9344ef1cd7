/* Cleared memory is marked as cleared, in its first byte. */
#include "../wrapped.h"

void *allocheck_calloc(size_t count, size_t size)
{
    char *block = sound_calloc(count, size);
    if (block && count && size)
        *block = 1;
    return block;
}
