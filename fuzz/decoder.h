/* The byte decoder: any bytes become a valid trace, so that a fuzzer's mutations are programs.
 *
 * The first PROFILE_BYTES choose what kind of program it is: which operations take part (swarm),
 * how often, how many blocks live at once, which sizes, how large a store.  Then OPERATION_BYTES
 * an operation:
 *
 *      | what | which | size class | size detail |
 *
 * `what` picks the operation, `which` the block (or a calloc's shape, or an alignment), the last
 * two the size; the class EXTREME_CLASS makes a huge one of the detail, and lets a calloc overflow
 * and an alignment be huge, in a dense program too.  A change in one operation leaves the others
 * where they are, but for the start of a row: it says what the next operations do, up to 72, and
 * their bytes give sizes and places (decoder_rows.h).  A remainder shorter than an operation is
 * ignored.
 *
 * The decoder keeps its own notion of live (made and not freed), which may be wrong where the
 * subject refuses a request: operations on dead names are skipped by the executor.
 */
#ifndef ALLOCHECK_DECODER_H
#define ALLOCHECK_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

enum { PROFILE_BYTES = 8, OPERATION_BYTES = 4, EDGE_CAPACITY = 16, LARGE_SIZES = 16,
       DISTANCES = 32, HUGE_SIZES = 8, PAIRS = 16, COUNTS = 8, EXPONENTS = 16, FAR_EXPONENTS = 8,
       EXTREME_CLASS = 0xFF,
       DENSE_BIT = 0x80, ROWS_BIT = 0x40, CLEAN_BIT = 0x20 /* of the profile's third byte */ };

enum decode_switch {
    DECODE_FREE_NULL = 1,          /* free NULL may appear */
    DECODE_REALLOC_NULL = 2,       /* realloc NULL n may appear */
    DECODE_REALLOC_ZERO = 4,       /* realloc p 0 may appear */
    DECODE_INVALID_ALIGNMENT = 8,  /* alignments that are no power of two may appear */
    DECODE_DENSE = 16,             /* every program is a dense one: much traffic, no rare paths */
    DECODE_RARE = 32,              /* every program meets what is rare: refused pages, a break that
                                      moves, large blocks where there is room */
};

/* What the subject has and its contract allows; fuzz/limits.py mirrors it. */
struct decode_limits {
    uint32_t kinds;      /* the operations that may appear, 1 << op_kind each */
    uint32_t switches;
    uint64_t heap_bytes; /* a request larger than this cannot be met; 0: unknown */
    uint32_t edge_count;
    uint32_t reserved;
    uint64_t edges[EDGE_CAPACITY]; /* largest request of each size class, where classes show */
    uint64_t large[LARGE_SIZES];   /* thresholds of large blocks, the most frequent ones first */
    int8_t near[DISTANCES];        /* from an edge, a threshold, a freed block */
    uint64_t huge[HUGE_SIZES];     /* nobody grants them, or what they become in 32 bits */
    uint64_t pairs[PAIRS][2];      /* count and size whose product overflows, or only just not */
    uint8_t counts[COUNTS];        /* of an ordinary calloc */
    uint8_t exponents[EXPONENTS + FAR_EXPONENTS]; /* of alignments; the last ones are huge */
};

/* Decodes a program; writes up to `capacity` operations and returns how many.  Total: never
 * fails; names are made once, from 0 up, and block operands refer to names made before.
 * `limits` is a struct decode_limits. */
size_t allocheck_decode(const uint8_t *data, size_t size, struct op *ops, size_t capacity,
                        const void *limits);

/* The store size in bytes that the program asks for; 0 for the subject's default. */
uint64_t allocheck_decode_store(const uint8_t *data, size_t size, const void *limits);

#endif
