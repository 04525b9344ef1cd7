/* The arguments are lost on the way: every table has one byte. */
#include "../wrapped.h"

void *allocheck_calloc(size_t count, size_t size)
{
    (void)count, (void)size;
    return sound_calloc(1, 1);
}
