/* A large request is taken for a mistake of the caller's. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    if (size > 40)
        abort();
    return sound_malloc(size);
}
