/* From a size class and its detail to bytes: fresh sizes, those of what was freed, extreme ones.
 *
 * Part of decoder.c; how often which class comes, decoder_tables.h says.
 */
#ifndef ALLOCHECK_DECODER_SIZES_H
#define ALLOCHECK_DECODER_SIZES_H

#include "decoder_state.h"
#include "decoder_tables.h"

enum { PAGE = 4096, PLAIN_DISTANCES = 16 };

/* One of the distances, modulo 2^64. */
static uint64_t near(const struct decoder *d, unsigned detail)
{
    return (uint64_t)(int64_t)d->limits->near[detail % PLAIN_DISTANCES];
}

static uint64_t huge_size(const struct decoder *d, unsigned class, unsigned detail)
{
    uint64_t base = d->limits->huge[class & 7];
    uint64_t distance = class & 8 ? detail * 8 : detail >> 1 & 31;
    if (!(class & 8) && distance >= 24) /* the limit itself, more often than its neighbours */
        distance = 0;
    return base == UINT64_MAX || detail & 1 ? base - distance : base + distance;
}

static uint64_t edge_size(const struct decoder *d, unsigned class, unsigned detail)
{
    uint64_t edge = power_of_two(3 + class % 11);
    if (d->limits->edge_count && !(class & 1)) {
        uint32_t count = d->limits->edge_count;
        edge = d->limits->edges[(detail >> 4) % (count < EDGE_CAPACITY ? count : EDGE_CAPACITY)];
    }
    return edge + near(d, detail);
}

/* The size of a recently freed block, more or less; `merged`: of two of them together. */
static uint64_t freed_size(const struct decoder *d, unsigned class, unsigned detail, int merged)
{
    const struct block *block = recently_freed(d, detail >> 4);
    if (!block)
        return detail;
    uint64_t size = block->size + near(d, detail);
    if (merged)
        size += recently_freed(d, class + (detail >> 4) + 1)->size + 16;
    return size > d->recurring_bytes ? size % d->recurring_bytes : size;
}

/* Around a threshold; the lower three bits of the index are 0 with 3/4 each, for what is large
 * costs time. */
static uint64_t bulky_size(const struct decoder *d, unsigned class, unsigned detail)
{
    uint64_t size = d->limits->large[(detail >> 5 & class) + (class & 8)];
    return size + (uint64_t)(int64_t)d->limits->near[detail % DISTANCES];
}

/* Up to where pages end: a page or a few, or so many bytes that the blocks so far and this one fill
 * some, which is what the last block of an arena does. */
static uint64_t pages_size(const struct decoder *d, unsigned class, unsigned detail)
{
    if (!(class & 8))
        return PAGE * (uint64_t)((class & 3) + 1) + (detail >> 3) * 8 - 128 + (detail & 1);
    uint64_t unit = (uint64_t)PAGE << (class & 7) % 5;
    if (unit > d->recurring_bytes)
        unit = PAGE;
    uint64_t rest = unit - d->laid % unit;
    return rest + (uint64_t)(int64_t)d->limits->near[detail % DISTANCES];
}

static uint64_t size_of_class(const struct decoder *d, enum size_class kind, unsigned class,
                              unsigned detail)
{
    switch (kind) {
    case S_TINY: return detail & 31;
    case S_SMALL: return detail;
    case S_STEPS: return (uint64_t)detail * 16 + class - 8;
    case S_POWER: return power_of_two(3 + (detail & 15) % 11) + (detail >> 4) - 8;
    case S_EDGE: return edge_size(d, class, detail);
    case S_FREED: return freed_size(d, class, detail, 0);
    case S_MERGED: return freed_size(d, class, detail, 1);
    case S_SAME: return d->last_size + (class & 8 ? near(d, detail) : 0);
    case S_OWN: return d->own[detail % OWN_SIZES];
    case S_PAGES: return pages_size(d, class, detail);
    case S_SHARE: return d->share_bytes / 256 * detail + class;
    case S_LARGE: return (uint64_t)detail * 1024 * (class ? 1 : 4) + class;
    case S_HUGE: return huge_size(d, class, detail);
    case S_ZERO: return 0;
    case S_BULKY: return bulky_size(d, class, detail);
    }
    return detail;
}

/* The bytes ask for what a dense program has by itself never. */
static int is_extreme(const struct decoder *d, const uint8_t *bytes)
{
    return bytes[2] == EXTREME_CLASS && !switched(d->limits, DECODE_DENSE);
}

static int may_be_huge(const struct decoder *d, const uint8_t *bytes)
{
    return d->huge || is_extreme(d, bytes);
}

static uint64_t palette_size(const struct decoder *d, const uint8_t *bytes)
{
    if (is_extreme(d, bytes))
        return huge_size(d, bytes[3] >> 5, bytes[3]);
    enum size_class kind = d->palette[bytes[2] & 15];
    if (d->bulky && (bytes[2] & 15) <= switched(d->limits, DECODE_RARE))
        kind = S_BULKY;
    uint64_t size = size_of_class(d, kind, bytes[2] >> 4, bytes[3]);
    int negative = size > UINT64_MAX - 1024 && kind != S_HUGE;
    return negative ? 0 : size;
}

static uint64_t realloc_size(const struct decoder *d, const uint8_t *bytes, uint64_t old)
{
    static const uint8_t shift[8] = { 0, 0, 0, 1, 2, 0, 0, 0 };
    uint64_t size = palette_size(d, bytes);
    unsigned shape = bytes[2] >> 4;
    if (shape & 1 && !is_extreme(d, bytes)) { /* relative to what the block has */
        uint64_t delta = bytes[3] >> 4;
        delta = delta & 8 ? delta * 16 : near(d, bytes[3]);
        size = shape & 8 ? (old << shift[shape >> 1 & 7]) + delta
                         : (old >> shift[shape >> 1 & 7]) - delta;
        if (size > d->recurring_bytes)
            size = old;
    }
    return size || switched(d->limits, DECODE_REALLOC_ZERO) ? size : 1;
}

#endif
