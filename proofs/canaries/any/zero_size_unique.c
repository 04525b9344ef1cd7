/* A request of 0 bytes gets nothing. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    return size ? sound_malloc(size) : NULL;
}
