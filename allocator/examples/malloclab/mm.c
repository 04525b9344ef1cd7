/*
 * mm.c - implicit free list, first fit, footers.  Payloads are 8-byte aligned.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm.h"
#include "memlib.h"

team_t team = { "first fit", "A. Student", "a@example.edu", "", "" };

#define WSIZE 4
#define DSIZE 8
#define CHUNKSIZE (1 << 12)
#define MAX(x, y) ((x) > (y) ? (x) : (y))
#define PACK(size, alloc) ((unsigned)((size) | (alloc)))
#define GET(p) (*(unsigned *)(p))
#define PUT(p, val) (*(unsigned *)(p) = (val))
#define SIZE_OF(bp) ((size_t)(GET((char *)(bp) - WSIZE) & ~7u))
#define USED(bp) (GET((char *)(bp) - WSIZE) & 1)
#define FOOTER(bp) ((char *)(bp) + SIZE_OF(bp) - DSIZE)
#define NEXT(bp) ((char *)(bp) + SIZE_OF(bp))
#define PREV_FOOTER(bp) ((char *)(bp) - DSIZE)
#define LARGEST 0x7fffff00u

static char *heap_start;

static void set_block(char *bp, size_t size, int used)
{
    PUT(bp - WSIZE, PACK(size, used));
    PUT(FOOTER(bp), PACK(size, used));
}

static char *coalesce(char *bp)
{
    size_t size = SIZE_OF(bp);
    if (!USED(NEXT(bp)))
        size += SIZE_OF(NEXT(bp));
    if (!(GET(PREV_FOOTER(bp)) & 1)) {
        size_t below = GET(PREV_FOOTER(bp)) & ~7u;
        bp -= below;
        size += below;
    }
    set_block(bp, size, 0);
    return bp;
}

static char *extend(size_t size)
{
    size = (size + 7) & ~(size_t)7;
    char *bp = mem_sbrk((int)size);
    if (bp == (char *)-1)
        return NULL;
    set_block(bp, size, 0);
    PUT(NEXT(bp) - WSIZE, PACK(0, 1));
    return coalesce(bp);
}

int mm_init(void)
{
    if ((heap_start = mem_sbrk(4 * WSIZE)) == (void *)-1)
        return -1;
    PUT(heap_start, 0);
    PUT(heap_start + WSIZE, PACK(DSIZE, 1));
    PUT(heap_start + 2 * WSIZE, PACK(DSIZE, 1));
    PUT(heap_start + 3 * WSIZE, PACK(0, 1));
    heap_start += 2 * WSIZE;
    return extend(CHUNKSIZE) ? 0 : -1;
}

static void place(char *bp, size_t need)
{
    size_t have = SIZE_OF(bp);
    if (have - need < 2 * DSIZE) {
        set_block(bp, have, 1);
        return;
    }
    set_block(bp, need, 1);
    set_block(NEXT(bp), have - need, 0);
}

void *mm_malloc(size_t size)
{
    if (size == 0 || size > LARGEST)
        return NULL;
    size_t need = size <= DSIZE ? 2 * DSIZE : (size + DSIZE + 7) & ~(size_t)7;
    char *bp = heap_start;
    while (SIZE_OF(bp) > 0 && (USED(bp) || SIZE_OF(bp) < need))
        bp = NEXT(bp);
    if (SIZE_OF(bp) == 0 && !(bp = extend(MAX(need, CHUNKSIZE))))
        return NULL;
    place(bp, need);
    return bp;
}

void mm_free(void *bp)
{
    if (!bp)
        return;
    set_block(bp, SIZE_OF(bp), 0);
    coalesce(bp);
}

void *mm_realloc(void *ptr, size_t size)
{
    if (!ptr)
        return mm_malloc(size);
    if (size == 0) {
        mm_free(ptr);
        return NULL;
    }
    void *moved = mm_malloc(size);
    if (!moved)
        return NULL;
    size_t old = SIZE_OF(ptr) - DSIZE;
    memcpy(moved, ptr, old < size ? old : size);
    mm_free(ptr);
    return moved;
}
