#include <stddef.h>

void *dnc_malloc(size_t size)
{
    return arena_take(size)
}
