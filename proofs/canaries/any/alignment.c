/* A byte in front of each block says whose it is. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    char *block = sound_malloc(size);
    return block ? block + 1 : block;
}
