/* The bytes that a live block holds: they depend on the block and on the position in it. */
#ifndef ALLOCHECK_PATTERN_H
#define ALLOCHECK_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Blocks up to this size are filled and checked whole, larger ones at both ends only. */
enum { PATTERN_WHOLE = 1 << 17, PATTERN_END = 1 << 14 };

uint64_t pattern_seed(uint32_t name, uint32_t generation);

/* Fills a block of `size` bytes. */
void pattern_fill(unsigned char *block, size_t size, uint64_t seed);

/* Offset of the first byte below `length` that differs from the pattern with which a block of
 * `size` bytes was filled, or `length`. */
size_t pattern_check(const unsigned char *block, size_t size, size_t length, uint64_t seed);

/* The byte that the pattern has at `offset`. */
unsigned char pattern_byte(uint64_t seed, size_t offset);

/* Offset of the first byte of [block, block + length) that differs from `byte`, or `length`. */
size_t first_other_byte(const unsigned char *block, size_t length, unsigned char byte);

#endif
