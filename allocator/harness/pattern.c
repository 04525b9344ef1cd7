/* Eight bytes at a time: word i of a block is seed + i * STEP, so equal words are equal positions
 * of equal blocks, and the compiler can do several at once. */
#include "pattern.h"

#include <string.h>

#define STEP UINT64_C(0x9e3779b97f4a7c15)

/* Up to here the start-up of a vector loop costs more than it saves. */
enum { SMALL = 128 };
#ifdef __clang__
#define NOT_VECTORISED _Pragma("clang loop vectorize(disable) unroll(disable)")
#else
#define NOT_VECTORISED
#endif

uint64_t pattern_seed(uint32_t name, uint32_t generation)
{
    uint64_t x = ((uint64_t)generation << 32 | name) + 1;
    x = (x ^ (x >> 31)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 27);
}

/* The last eight bytes of `length`, which straddle two words of the pattern unless it is a multiple
 * of eight: writing or reading them at once spares a loop over the odd bytes. */
static uint64_t last_eight(uint64_t word, size_t length)
{
    size_t odd = length % 8;
    uint64_t below = word + (length / 8 - 1) * STEP;
    return odd ? below >> (8 * odd) | (below + STEP) << (64 - 8 * odd) : below;
}

static void fill_words(unsigned char *at, size_t length, uint64_t word)
{
    if (length < 8) {
        for (size_t i = 0; i < length; i++)
            at[i] = (unsigned char)(word >> (8 * i));
        return;
    }
    size_t words = length / 8;
    uint64_t last = last_eight(word, length);
    if (length <= SMALL) {
        NOT_VECTORISED
        for (size_t i = 0; i < words; i++, word += STEP)
            memcpy(at + 8 * i, &word, 8);
    } else {
        for (size_t i = 0; i < words; i++) {
            uint64_t value = word + i * STEP;
            memcpy(at + 8 * i, &value, 8);
        }
    }
    memcpy(at + length - 8, &last, 8);
}

unsigned char pattern_byte(uint64_t seed, size_t offset)
{
    return (unsigned char)((seed + offset / 8 * STEP) >> (8 * (offset % 8)));
}

static size_t first_wrong_byte(const unsigned char *at, size_t length, uint64_t word)
{
    size_t i = 0;
    while (i < length && at[i] == pattern_byte(word, i))
        i++;
    return i;
}

static uint64_t word_at(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static size_t check_words(const unsigned char *at, size_t length, uint64_t word)
{
    if (length < 8)
        return first_wrong_byte(at, length, word);
    size_t words = length / 8;
    uint64_t difference = word_at(at + length - 8) ^ last_eight(word, length);
    if (length <= SMALL) {
        NOT_VECTORISED
        for (size_t i = 0; i < words; i++)
            difference |= word_at(at + 8 * i) ^ (word + i * STEP);
    } else {
        for (size_t i = 0; i < words; i++)
            difference |= word_at(at + 8 * i) ^ (word + i * STEP);
    }
    return difference ? first_wrong_byte(at, length, word) : length;
}

void pattern_fill(unsigned char *block, size_t size, uint64_t seed)
{
    if (size <= PATTERN_WHOLE) {
        fill_words(block, size, seed);
        return;
    }
    size_t tail = (size - PATTERN_END) & ~(size_t)7;
    fill_words(block, PATTERN_END, seed);
    fill_words(block + tail, size - tail, seed + tail / 8 * STEP);
}

size_t pattern_check(const unsigned char *block, size_t size, size_t length, uint64_t seed)
{
    if (size <= PATTERN_WHOLE)
        return check_words(block, length, seed);
    size_t tail = (size - PATTERN_END) & ~(size_t)7;
    size_t head = length < PATTERN_END ? length : PATTERN_END;
    size_t wrong = check_words(block, head, seed);
    if (wrong < head || length <= tail)
        return wrong < head ? wrong : length;
    return tail + check_words(block + tail, length - tail, seed + tail / 8 * STEP);
}

size_t first_other_byte(const unsigned char *block, size_t length, unsigned char byte)
{
    if (!length || (block[0] == byte && !memcmp(block, block + 1, length - 1)))
        return length;
    size_t i = 0;
    while (block[i] == byte)
        i++;
    return i;
}
