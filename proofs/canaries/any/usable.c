/* Bytes are reported as if they were shorts. */
#include "../wrapped.h"

size_t allocheck_usable_size(void *block)
{
    return sound_usable_size(block) / 2;
}
