/* A pool of slots of 64 bytes for a device without pages: a block is a run of slots, and a byte for
 * each slot says how many the run that starts there has. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SLOT 64
#define SLOTS 16
#define POOL (SLOT * SLOTS)
#define FREE 0
#define INSIDE 255

static _Alignas(64) unsigned char pool[POOL];
static unsigned char runs[SLOTS];

static int is_free(size_t from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (runs[from + i] != FREE)
            return 0;
    return 1;
}

void *slot_malloc(size_t size)
{
    if (size > POOL)
        return NULL;
    size_t count = (size + SLOT - 1) / SLOT;
    if (!count)
        count = 1;
    for (size_t from = 0; from + count <= SLOTS; from++) {
        if (!is_free(from, count))
            continue;
        memset(runs + from, INSIDE, count);
        runs[from] = (unsigned char)count;
        return pool + from * SLOT;
    }
    return NULL;
}

void slot_free(void *block)
{
    if (!block)
        return;
    size_t from = (size_t)((unsigned char *)block - pool) / SLOT;
    memset(runs + from, FREE, runs[from]);
}

void *slot_calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *block = slot_malloc(count * size);
    if (block)
        memset(block, 0, count * size);
    return block;
}
