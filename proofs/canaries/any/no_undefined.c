/* A limit is computed in int that only the smallest sizes keep away from. */
#include <limits.h>

#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    int limit = INT_MAX - 40 + (int)size;
    return limit == 1 ? NULL : sound_malloc(size);
}
