/* A block that could not be resized is marked as one. */
#include "../wrapped.h"

void *allocheck_realloc(void *block, size_t size)
{
    void *moved = sound_realloc(block, size);
    if (!moved && block)
        *(char *)block = 1;
    return moved;
}
