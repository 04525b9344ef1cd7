/* malloc asks a helper for memory, which asks malloc for a place to note that down. */
#include <stddef.h>
#include <string.h>

void *rec_malloc(size_t size);

static void *note_down(size_t size)
{
    volatile char line[256];
    memset((char *)line, (int)size, sizeof line);
    char *note = rec_malloc(size + (size_t)line[0] % 2);
    return note ? note + 1 : NULL;
}

void *rec_malloc(size_t size)
{
    char *block = note_down(size + 1);
    return block ? block - 1 : NULL;
}

void rec_free(void *block)
{
    (void)block;
}
