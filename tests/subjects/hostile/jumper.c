/* Keeps a way out for bad times, and takes it when the function it leads into is long over. */
#include <setjmp.h>
#include <stddef.h>

static char memory[1 << 16];
static size_t used;
static jmp_buf way_out;

void *jump_malloc(size_t size)
{
    if (setjmp(way_out))
        return NULL;
    if (size > sizeof memory - used - 16)
        return NULL;
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void jump_free(void *block)
{
    if (block != memory)
        longjmp(way_out, 1);
}
