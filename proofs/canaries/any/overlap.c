/* The first block is given to everybody whom it is large enough for. */
#include "../wrapped.h"

void *allocheck_malloc(size_t size)
{
    static void *first;
    static size_t held;
    if (first && size <= held)
        return first;
    void *block = sound_malloc(size);
    if (block && !first) {
        first = block;
        held = size;
    }
    return block;
}
