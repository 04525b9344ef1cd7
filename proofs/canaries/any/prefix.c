/* A resized block is made a fresh one, its first byte cleared. */
#include "../wrapped.h"

void *allocheck_realloc(void *block, size_t size)
{
    char *moved = sound_realloc(block, size);
    if (moved && size)
        *moved = 0;
    return moved;
}
