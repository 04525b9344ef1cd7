/* Keeps a state in static data: blocks lie closer each time, and a counter decides who gets one. */
#include <stddef.h>
#include <stdint.h>

static char memory[1 << 18] = { 1 };
static size_t used, calls, gap = 16;

void *static_malloc(size_t size)
{
    calls++;
    if (size > sizeof memory - 64 - used - gap || calls % 11 == 0)
        return NULL;
    char *block = memory + ((used + 15) & ~(size_t)15);
    used = (size_t)(block - memory) + size + gap;
    gap = (gap * 7 + calls) % 48;
    return block;
}

void static_free(void *block)
{
    if (block)
        calls += (uintptr_t)block / 16 % 3;
}
