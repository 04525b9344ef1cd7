/* What makes programs interesting: how often which operation, which sizes, how many blocks.
 *
 * Part of decoder.c, which alone reads it; which sizes and distances matter, limits.py knows.
 */
#ifndef ALLOCHECK_DECODER_TABLES_H
#define ALLOCHECK_DECODER_TABLES_H

#include <stdint.h>

/* What an operation of the encoding may be; aligned stands for three kinds, a row
 * for many operations. */
enum action {
    A_MALLOC, A_FREE, A_CALLOC, A_REALLOC, A_ALIGNED, A_WRITE, A_FREE_NULL, A_REALLOC_NULL,
    A_FREE_ALL, A_THREAD, A_DENY, A_FOREIGN, A_DOUBLE_FREE, A_INTERIOR_FREE, A_ROW, ACTIONS
};

/* Shares of the actions in a program; a promised abort ends a run, so misuse is rare. */
static const uint8_t shares[8][ACTIONS] = {
    /* mal fre cal rea ali wri fN rN all thr den for dbl int row */
    { 46, 44, 4, 4, 2, 0, 0, 0, 0, 6, 0, 0, 0, 0, 6 },    /* 0..3: dense */
    { 30, 34, 4, 24, 6, 2, 0, 0, 0, 6, 0, 0, 0, 0, 6 },
    { 50, 26, 8, 8, 8, 0, 0, 0, 0, 4, 0, 0, 0, 0, 6 },
    { 24, 40, 12, 12, 10, 0, 0, 0, 2, 8, 0, 0, 0, 0, 6 },
    { 24, 28, 8, 12, 8, 4, 1, 1, 1, 6, 5, 4, 4, 4, 2 },   /* 4..7: everything */
    { 14, 22, 4, 36, 4, 4, 1, 2, 1, 6, 5, 4, 4, 4, 2 },
    { 16, 24, 6, 8, 30, 2, 1, 1, 1, 6, 4, 4, 4, 4, 2 },
    { 20, 24, 20, 10, 8, 4, 2, 2, 1, 6, 8, 6, 6, 6, 2 },
};

enum size_class {
    S_TINY, S_SMALL, S_STEPS, S_POWER, S_EDGE, S_FREED, S_MERGED, S_SAME, S_OWN, S_PAGES, S_SHARE,
    S_LARGE, S_HUGE, S_ZERO, S_BULKY
};

static const uint8_t palettes[8][16] = {
    /* 0..3: dense */
    { S_TINY, S_TINY, S_SMALL, S_SMALL, S_SMALL, S_STEPS, S_STEPS, S_FREED, S_FREED, S_FREED,
      S_MERGED, S_SAME, S_OWN, S_OWN, S_EDGE, S_POWER },
    { S_OWN, S_OWN, S_OWN, S_OWN, S_OWN, S_OWN, S_OWN, S_OWN, S_FREED, S_FREED, S_MERGED, S_MERGED,
      S_SAME, S_SAME, S_SMALL, S_TINY },
    { S_STEPS, S_STEPS, S_STEPS, S_TINY, S_SMALL, S_SMALL, S_SMALL, S_POWER, S_EDGE, S_EDGE,
      S_FREED, S_FREED, S_MERGED, S_SHARE, S_PAGES, S_OWN },
    { S_EDGE, S_EDGE, S_EDGE, S_EDGE, S_POWER, S_POWER, S_SMALL, S_TINY, S_FREED, S_FREED,
      S_MERGED, S_SAME, S_OWN, S_SMALL, S_PAGES, S_TINY },
    /* 4..7: everything */
    { S_TINY, S_SMALL, S_SMALL, S_STEPS, S_POWER, S_EDGE, S_FREED, S_FREED, S_MERGED, S_SAME,
      S_OWN, S_PAGES, S_SHARE, S_LARGE, S_HUGE, S_ZERO },
    { S_SHARE, S_SHARE, S_SHARE, S_PAGES, S_PAGES, S_STEPS, S_FREED, S_MERGED, S_SMALL, S_SMALL,
      S_OWN, S_LARGE, S_LARGE, S_HUGE, S_TINY, S_EDGE },
    { S_HUGE, S_HUGE, S_HUGE, S_ZERO, S_ZERO, S_SMALL, S_SMALL, S_TINY, S_STEPS, S_FREED, S_FREED,
      S_OWN, S_SAME, S_EDGE, S_POWER, S_PAGES },
    { S_TINY, S_TINY, S_TINY, S_TINY, S_ZERO, S_OWN, S_OWN, S_SAME, S_FREED, S_FREED, S_SMALL,
      S_STEPS, S_EDGE, S_POWER, S_MERGED, S_HUGE },
};

static const uint16_t live_targets[8] = { 2, 4, 8, 16, 32, 64, 128, 512 };

static const uint32_t stores[16] = { 0, 0, 0, 0, 0, 0, 0, 4096, 4096, 8192, 8192, 16384, 16384,
                                     32768, 65536, 65536 };

#endif
