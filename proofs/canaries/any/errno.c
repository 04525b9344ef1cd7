/* An allocation "leaves errno alone", a failed one too; free says that all is well. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    int before = errno;
    void *block = sound_malloc(size);
    errno = before;
    return block;
}

void allocheck_free(void *block)
{
    sound_free(block);
    errno = 0;
}
