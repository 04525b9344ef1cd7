/* A size that looks negative is taken for a mistake, and answered with a small block. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    return sound_malloc(size > (size_t)-1 / 2 ? 16 : size);
}
