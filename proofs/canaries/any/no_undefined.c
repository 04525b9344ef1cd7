/* The size is doubled in int, as if no request could be that large. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    int doubled = (int)size * 2;
    return doubled == 1 ? NULL : sound_malloc(size);
}
