/* Granules are 8 bytes; addresses are folded into a table of 2 MiB, so a hit may be a coincidence,
 * but a shared granule is always a hit. */
#include "block_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { GRANULE_BITS = 3, SHADOW = 1 << 21, WHOLE = 1 << 20, END = 1 << 16 };

struct granules {
    size_t first;
    size_t count;
};

/* The granules of a block, or of the ends of a large one: [0] and [1]. */
static void cover(const struct block *block, struct granules out[2])
{
    uint64_t size = block->size ? block->size : 1;
    uint64_t head = size > WHOLE ? END : size;
    uint64_t last = block->address + size - 1;
    out[0].first = block->address >> GRANULE_BITS;
    out[0].count = ((block->address + head - 1) >> GRANULE_BITS) - out[0].first + 1;
    out[1].first = (last - END + 1) >> GRANULE_BITS;
    out[1].count = size > WHOLE ? (last >> GRANULE_BITS) - out[1].first + 1 : 0;
}

static int any_marked(const uint8_t *at, size_t count)
{
    uint64_t any = 0;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t eight;
        memcpy(&eight, at + i, 8);
        any |= eight;
    }
    for (; i < count; i++)
        any |= at[i];
    return any != 0;
}

/* Sets the granules to `mark`; returns whether one was marked before. */
static int mark(struct block_table *table, struct granules granules, uint8_t value)
{
    int marked = 0;
    while (granules.count) {
        size_t index = granules.first & (SHADOW - 1);
        size_t run = SHADOW - index < granules.count ? SHADOW - index : granules.count;
        marked |= any_marked(table->shadow + index, run);
        memset(table->shadow + index, value, run);
        granules.first += run;
        granules.count -= run;
    }
    return marked;
}

static int mark_block(struct block_table *table, const struct block *block, uint8_t value)
{
    struct granules granules[2];
    cover(block, granules);
    return mark(table, granules[0], value) | mark(table, granules[1], value);
}

int block_table_open(struct block_table *table, uint32_t capacity)
{
    memset(table, 0, sizeof *table);
    table->capacity = capacity;
    table->blocks = calloc(capacity, sizeof *table->blocks);
    table->shadow = mmap(NULL, SHADOW, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return table->blocks && table->shadow != MAP_FAILED ? 0 : -1;
}

void block_table_reset(struct block_table *table)
{
    for (uint32_t i = 0; i < table->used; i++)
        if (table->blocks[i].state == BLOCK_LIVE)
            mark_block(table, &table->blocks[i], 0);
    memset(table->blocks, 0, table->used * sizeof *table->blocks);
    table->used = table->live = table->granted = 0;
}

void block_table_close(struct block_table *table)
{
    free(table->blocks);
    munmap(table->shadow, SHADOW);
}

int block_table_add(struct block_table *table, struct block *block)
{
    block->state = BLOCK_LIVE;
    table->live++;
    table->granted++;
    return mark_block(table, block, 1);
}

void block_table_remove(struct block_table *table, struct block *block, enum block_state state)
{
    block->state = state;
    block->freed_at = table->granted;
    table->live--;
    mark_block(table, block, 0);
}
