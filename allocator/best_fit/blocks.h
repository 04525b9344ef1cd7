/* blocks.h: what lies in a row and in a region: sealed headers, and the report of misuse.
 *
 * It moves nothing: best_fit.c changes the heap, looking.h looks at it.  The pictures are in
 * best_fit.h.
 */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "best_fit.h"
#include "size_tree.h"

enum { HEADER = 16, MIN_BLOCK = 48, ROW_START = 16, REGION_START = 32, PAGE = MEM_PAGE };
#define USED ((size_t)1)
#define BELOW_FREE ((size_t)2)
#define REGION ((size_t)4)
#define FLAGS ((size_t)(ALIGN - 1))

struct mem_row {
    struct mem_row *above;
    char *end; /* its fence */
};

struct mem_region {
    struct mem_region *next;
    size_t lead; /* from where it starts to its payload */
    uint64_t checksum;
    size_t word;
};

/* ---- headers ---- */

/* Each step can be undone, so that a change of one of word, address and key changes the result. */
static inline uint64_t checksum_of(const struct mem_heap *heap, const struct mem_node *block,
                                   size_t word)
{
    uint64_t mixed = (word ^ heap->key) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32 ^ (uintptr_t)block) * UINT64_C(0xd6e8feb86659fd93);
    return mixed ^ mixed >> 32;
}

static inline bool is_sound(const struct mem_heap *heap, const struct mem_node *block)
{
    return block->checksum == checksum_of(heap, block, block->word);
}

static inline void set_header(const struct mem_heap *heap, struct mem_node *block, size_t word)
{
    block->word = word;
    block->checksum = checksum_of(heap, block, word);
}

static inline struct mem_node *node_at(const void *address)
{
    return (struct mem_node *)address;
}

static inline void *payload_of(const struct mem_node *block)
{
    return (char *)block + HEADER;
}

static inline struct mem_node *block_of(const void *payload)
{
    return node_at((const char *)payload - HEADER);
}

static inline bool is_used(const struct mem_node *block)
{
    return (block->word & USED) != 0;
}

static inline struct mem_node *after(const struct mem_node *block)
{
    return node_at((const char *)block + size_of(block));
}

static inline size_t *footer_of(const struct mem_node *block)
{
    return (size_t *)((char *)after(block) - sizeof(size_t));
}

static inline size_t block_size(size_t request)
{
    size_t size = round_up(request + HEADER, ALIGN);
    return size < MIN_BLOCK ? MIN_BLOCK : size;
}

/* ---- misuse ---- */

static _Noreturn void report(const char *what, const void *payload)
{
    char line[80] = "best_fit: ";
    strcat(strcat(line, what), " 0x");
    char *end = line + strlen(line);
    uintptr_t number = (uintptr_t)payload;
    int digit = number ? 60 - __builtin_clzll(number) / 4 * 4 : 0;
    for (; digit >= 0; digit -= 4)
        *end++ = "0123456789abcdef"[number >> digit & 15];
    *end++ = '\n';
    ssize_t written = write(2, line, (size_t)(end - line));
    (void)written;
    abort();
}

/* The block, whose header says what it said when it was written. */
static inline struct mem_node *checked(const struct mem_heap *heap, struct mem_node *block)
{
    if (!is_sound(heap, block))
        report("smashed header of", payload_of(block));
    return block;
}

/* ---- rows and regions ---- */

static inline struct mem_node *first_of(const struct mem_row *row)
{
    return node_at((const char *)row + ROW_START);
}

/* The row that has `address` between its ends, or NULL. */
static inline const struct mem_row *row_of(const struct mem_heap *heap, const void *address)
{
    uintptr_t at = (uintptr_t)address;
    for (const struct mem_row *row = heap->rows; row; row = row->above)
        if (at >= (uintptr_t)first_of(row) && at < (uintptr_t)row->end)
            return row;
    return NULL;
}

static inline struct mem_node *header_of(struct mem_region *region)
{
    return node_at(&region->checksum);
}

static inline struct mem_region *region_of(const struct mem_node *block)
{
    return (struct mem_region *)((char *)block - offsetof(struct mem_region, checksum));
}

static inline char *start_of(const struct mem_region *region)
{
    return (char *)region + REGION_START - region->lead;
}

#endif
