/* Eight bytes look like a mistake for a pointer to something, and are refused. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    if (size == sizeof(void *)) {
        errno = ENOMEM;
        return NULL;
    }
    return sound_malloc(size);
}
