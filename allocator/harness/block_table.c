/* Granules are 8 bytes; addresses are folded into a table of 2 MiB, so a hit may be a coincidence,
 * but a shared granule is always a hit. */
#include "block_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { GRANULE_BITS = 3, SHADOW = 1 << 21, WHOLE = 1 << 17, END = 1 << 14 };
#define MARKED UINT64_C(0x0101010101010101)

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

/* The first `count` bytes of a word. */
static uint64_t low_bytes(size_t count)
{
    return count < 8 ? (UINT64_C(1) << (8 * count)) - 1 : UINT64_MAX;
}

/* Sets `count` granules, eight at most; returns whether one was marked before.  The table has room
 * for a word behind its end. */
static int mark_word(uint8_t *at, size_t count, uint64_t mark)
{
    uint64_t word, mask = low_bytes(count);
    memcpy(&word, at, 8);
    uint64_t changed = (word & ~mask) | (mark & mask);
    memcpy(at, &changed, 8);
    return (word & mask) != 0;
}

static int mark_run(uint8_t *at, size_t count, uint64_t mark)
{
    int marked = 0;
    for (; count > 8; at += 8, count -= 8)
        marked |= mark_word(at, 8, mark);
    return marked | mark_word(at, count, mark);
}

static int mark(struct block_table *table, struct granules granules, uint64_t value)
{
    int marked = 0;
    while (granules.count) {
        size_t index = granules.first & (SHADOW - 1);
        size_t run = SHADOW - index < granules.count ? SHADOW - index : granules.count;
        marked |= mark_run(table->shadow + index, run, value);
        granules.first += run;
        granules.count -= run;
    }
    return marked;
}

static int mark_block(struct block_table *table, const struct block *block, uint64_t value)
{
    /* most blocks fit into one word of the table */
    size_t first = block->address >> GRANULE_BITS;
    size_t count = ((block->address + block->size - 1) >> GRANULE_BITS) - first + 1;
    size_t index = first & (SHADOW - 1);
    if (block->size - 1 < 64 && count <= 8 && index + count <= SHADOW)
        return mark_word(table->shadow + index, count, value);
    struct granules granules[2];
    cover(block, granules);
    int marked = mark(table, granules[0], value);
    return block->size > WHOLE ? marked | mark(table, granules[1], value) : marked;
}

int block_table_open(struct block_table *table, uint32_t capacity)
{
    memset(table, 0, sizeof *table);
    table->capacity = capacity;
    table->blocks = calloc(capacity, sizeof *table->blocks);
    table->shadow = mmap(NULL, SHADOW + 8, PROT_READ | PROT_WRITE,
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
    munmap(table->shadow, SHADOW + 8);
}

int block_table_add(struct block_table *table, struct block *block)
{
    block->state = BLOCK_LIVE;
    table->live++;
    table->granted++;
    return mark_block(table, block, MARKED);
}

void block_table_remove(struct block_table *table, struct block *block, enum block_state state)
{
    block->state = state;
    block->freed_at = table->granted;
    table->live--;
    mark_block(table, block, 0);
}
