/* The blocks of a run by name, and the granules of memory that live ones cover. */
#ifndef ALLOCHECK_BLOCK_TABLE_H
#define ALLOCHECK_BLOCK_TABLE_H

#include <stdint.h>

enum block_state { BLOCK_DEAD = 0, BLOCK_LIVE, BLOCK_FREED };

struct block {
    uint64_t address;
    uint64_t size;   /* requested */
    uint64_t filled; /* bytes that hold the pattern; 0: none do */
    uint64_t seed;
    uint32_t state;
    uint32_t generation; /* how often the pattern was written */
    uint32_t freed_at;   /* how many blocks had been granted when it was freed */
    uint32_t damaged;    /* the damage kinds already noted, as bits */
};

struct block_table {
    struct block *blocks;
    uint32_t capacity;
    uint32_t used;    /* names below this one have been touched in this run */
    uint32_t live;
    uint32_t granted; /* blocks granted in this run */
    uint32_t large;   /* live blocks that are too large for the shadow: large_blocks has them */
    const struct block **large_blocks;
    uint8_t *shadow;  /* one byte a granule, addresses folded: not 0 if a live block covers it */
};

int block_table_open(struct block_table *table, uint32_t capacity);
void block_table_reset(struct block_table *table);
void block_table_close(struct block_table *table);

/* Marks the block live; returns whether it may share a byte with a live one.  Never misses. */
int block_table_add(struct block_table *table, struct block *block);

void block_table_remove(struct block_table *table, struct block *block, enum block_state state);

#endif
