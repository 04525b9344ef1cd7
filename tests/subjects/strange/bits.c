/* Bits turned round, shifted in a circle, counted, saturated: each held against plain C. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static char pool[4096];
static size_t used;

static uint32_t turned(uint32_t x) { return x << 24 | (x & 0xff00) << 8 | (x >> 8 & 0xff00) | x >> 24; }

void *bits_malloc(size_t size)
{
    uint32_t x = (uint32_t)size & 0xffff;
    assert(__builtin_bswap32(x) == turned(x));
    assert(__builtin_bitreverse8((uint8_t)(x | 1)) & 0x80);
    assert(__builtin_rotateleft32(x, 9) == (x << 9 | x >> 23));
    assert(__builtin_rotateright32(x, 9) == (x >> 9 | x << 23));
    assert(__builtin_elementwise_max(x, 9u) >= 9 && __builtin_elementwise_min(x, 9u) <= 9);
    assert(__builtin_elementwise_sub_sat(x, 0x10000u) == 0);
    assert(__builtin_elementwise_add_sat((int)x, INT32_MAX) == INT32_MAX);
    assert(__builtin_elementwise_sub_sat(-(int)x - 2, INT32_MAX) == INT32_MIN);
    assert(__builtin_elementwise_abs(-(int)x) == (int)x);
    assert(__builtin_align_down(pool + 17, 16) == pool + 16);
    assert(__builtin_popcount(x & 1) == (int)(x & 1));
    if (size > sizeof pool - used)
        return NULL;
    void *block = pool + used;
    used += size ? (size_t)16 << (60 - __builtin_clzll(size | 15)) : 16;
    if (used > sizeof pool)
        used = sizeof pool;
    return block;
}

void bits_free(void *block) { (void)block; }
