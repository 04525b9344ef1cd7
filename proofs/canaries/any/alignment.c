/* A byte in front of each block that is not tiny says whose it is. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    return block && size > 15 ? block + 1 : block;
}
