/* Notes the size of a block behind it, where the neighbour lives; and now and then the caller's
 * memory is taken for its own. */
#include <stddef.h>
#include <string.h>

static char memory[1 << 16];
static size_t used;
static int calls;

void *scribble_malloc(size_t size)
{
    if (size > sizeof memory - used - 32)
        return NULL;
    char *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    memcpy(block + size, &size, sizeof size);
    if (++calls == 40) /* up the stack: what the caller keeps there */
        memset(__builtin_frame_address(0), 0x5c, 256);
    return block;
}

void scribble_free(void *block)
{
    if (block)
        memset((char *)block - 8, 0, 16);
}
