/* A request of 0 bytes gets a byte. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    return sound_malloc(size ? size : 1);
}
