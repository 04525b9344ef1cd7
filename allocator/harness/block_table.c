/* Granules are 8 bytes.  Windows of 8 MiB of address space are scattered over 64 places of a table
 * that is touched only where blocks are: a hit may be a coincidence, a shared granule is always a
 * hit.  Large blocks are few: they are compared one by one instead. */
#include "block_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { GRANULE_BITS = 3, WINDOW_BITS = 20, WINDOW = 1 << WINDOW_BITS, SHADOW = 64 * WINDOW };
enum { LARGE_FROM = 1 << 17 };
#define MARKED UINT64_C(0x0101010101010101)

static int is_large(const struct block *block)
{
    return block->size > LARGE_FROM;
}

static int share_a_byte(const struct block *one, const struct block *other)
{
    return one->address < other->address ? other->address - one->address < one->size
                                         : one->address - other->address < other->size;
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

/* Where a granule's mark lies; neighbours in one window are neighbours in the table. */
static size_t place(size_t granule)
{
    uint64_t scattered = (granule >> WINDOW_BITS) * UINT64_C(0x9e3779b97f4a7c15) >> 58;
    return (size_t)scattered << WINDOW_BITS | (granule & (WINDOW - 1));
}

static int mark_block(struct block_table *table, const struct block *block, uint64_t value)
{
    uint64_t last = block->address + (block->size ? block->size - 1 : 0);
    size_t first = block->address >> GRANULE_BITS;
    size_t count = (last >> GRANULE_BITS) - first + 1;
    int marked = 0;
    while (count) {
        size_t room = WINDOW - (first & (WINDOW - 1));
        size_t run = room < count ? room : count;
        marked |= mark_run(table->shadow + place(first), run, value);
        first += run;
        count -= run;
    }
    return marked;
}

int block_table_open(struct block_table *table, uint32_t capacity)
{
    memset(table, 0, sizeof *table);
    table->capacity = capacity;
    table->blocks = calloc(capacity, sizeof *table->blocks);
    table->large_blocks = calloc(capacity, sizeof *table->large_blocks);
    table->shadow = mmap(NULL, SHADOW + 8, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return table->blocks && table->large_blocks && table->shadow != MAP_FAILED ? 0 : -1;
}

void block_table_reset(struct block_table *table)
{
    for (uint32_t i = 0; i < table->used; i++)
        if (table->blocks[i].state == BLOCK_LIVE && !is_large(&table->blocks[i]))
            mark_block(table, &table->blocks[i], 0);
    memset(table->blocks, 0, table->used * sizeof *table->blocks);
    table->used = table->live = table->granted = table->large = 0;
}

void block_table_close(struct block_table *table)
{
    free(table->blocks);
    free(table->large_blocks);
    munmap(table->shadow, SHADOW + 8);
}

/* Whether the block shares a byte with a live large one. */
static int meets_large(const struct block_table *table, const struct block *block)
{
    for (uint32_t i = 0; i < table->large; i++)
        if (share_a_byte(block, table->large_blocks[i]))
            return 1;
    return 0;
}

/* The same with any live one. */
static int meets(const struct block_table *table, const struct block *block)
{
    for (uint32_t i = 0; i < table->used; i++) {
        const struct block *other = &table->blocks[i];
        if (other->state == BLOCK_LIVE && other != block && share_a_byte(block, other))
            return 1;
    }
    return 0;
}

static void forget_large(struct block_table *table, const struct block *block)
{
    uint32_t i = 0;
    while (table->large_blocks[i] != block)
        i++;
    table->large_blocks[i] = table->large_blocks[--table->large];
}

int block_table_add(struct block_table *table, struct block *block)
{
    int large = is_large(block);
    int met = large ? meets(table, block) : meets_large(table, block);
    block->state = BLOCK_LIVE;
    table->live++;
    table->granted++;
    if (!large)
        return met | mark_block(table, block, MARKED);
    table->large_blocks[table->large++] = block;
    return met;
}

void block_table_remove(struct block_table *table, struct block *block, enum block_state state)
{
    block->state = state;
    block->freed_at = table->granted;
    table->live--;
    if (is_large(block))
        forget_large(table, block);
    else
        mark_block(table, block, 0);
}
