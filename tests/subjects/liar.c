/* An allocator that lies as it is told, by the sizes asked for: the tripwire must see each lie.
 *
 * The lower bits of a size choose the lie; an honest answer is a piece of the arena that was never
 * given before.  It keeps no heap and frees nothing, and it never leaves its arena but where the
 * lie is to point outside of it.
 */
#include "liar.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 32, LIES = 20, PIECE = 16 };

/* What stands before each honest payload: the size asked for, and the lie that was told. */
struct header {
    size_t size;
    unsigned lie;
};

static char *arena, *next, *last, *end;

static struct header *header_of(void *payload)
{
    return (struct header *)((char *)payload - HEADER);
}

static int is_honest(const void *payload)
{
    const char *at = payload;
    return at >= arena + HEADER && at < end && (uintptr_t)at % PIECE == 0;
}

void liar_open(void *memory, size_t size)
{
    arena = memory;
    next = arena + (-(uintptr_t)memory & (PIECE - 1));
    last = NULL;
    end = arena + size;
}

static void *honest(size_t size, unsigned lie)
{
    if (size > (size_t)(end - next) || (size_t)(end - next) - size < HEADER + 2 * PIECE) {
        errno = ENOMEM;
        return NULL;
    }
    char *payload = next + HEADER;
    *header_of(payload) = (struct header){ size, lie };
    next = payload + ((size + PIECE - 1) & ~(size_t)(PIECE - 1));
    last = payload;
    return payload;
}

static void *lied(size_t size, unsigned lie)
{
    char *before = last;
    switch (lie) {
    case 1: return NULL;                              /* refused, and errno says nothing */
    case 2: return before ? before : honest(size, 0); /* the same again */
    case 3: return before ? before + PIECE : honest(size, 0); /* inside the last one, or over it */
    case 4: return end - PIECE;                       /* runs out of the arena */
    case 5: return arena - 64 * PIECE;                /* was never given */
    case 6: return honest(size / 2, lie);             /* says it is smaller than asked for */
    case 7: {                                         /* not aligned */
        char *payload = honest(size + PIECE, lie);
        return payload ? payload + 4 : NULL;
    }
    case 8: {                                         /* writes into the block before */
        char *payload = honest(size, lie);
        if (before)
            before[0] ^= 0x55;
        return payload;
    }
    default: return honest(size, lie);
    }
}

static unsigned lie_of(size_t size)
{
    return size ? (unsigned)(size % LIES) : 9;
}

void *liar_malloc(size_t size)
{
    if (!size)
        return NULL; /* where a block of its own is promised */
    if (size > PTRDIFF_MAX)
        return lie_of(size) % 2 ? honest(16, 0) : (errno = ENOMEM, NULL);
    return lied(size, lie_of(size));
}

void *liar_calloc(size_t count, size_t size)
{
    size_t total = count * size; /* it may overflow: that is a lie too */
    if (total / 32 % 4 == 3 && size && count > SIZE_MAX / size)
        return errno = ENOMEM, NULL;
    char *payload = liar_malloc(total);
    if (payload && is_honest(payload) && payload != end - PIECE) {
        memset(payload, 0, total);
        if (total && lie_of(total) == 10)
            payload[total - 1] = 1;
    }
    return payload;
}

void *liar_realloc(void *old, size_t size)
{
    unsigned lie = lie_of(size);
    if (!old)
        return lie == 11 ? NULL : liar_malloc(size);
    size_t had = is_honest(old) ? header_of(old)->size : 0;
    if (lie == 12) { /* refused, and the block is spoilt */
        if (had)
            *(char *)old ^= 0x55;
        return errno = ENOMEM, NULL;
    }
    char *moved = liar_malloc(size);
    if (moved && moved != old && is_honest(moved) && header_of(moved)->size == size) {
        memmove(moved, old, had < size ? had : size);
        if (lie == 13)
            moved[0] ^= 0x55;
    }
    return moved;
}

void *liar_aligned(size_t alignment, size_t size)
{
    return liar_malloc(size + 0 * alignment); /* the alignment is not looked at */
}

void liar_free(void *payload)
{
    if (!payload)
        abort(); /* where C23 wants nothing to happen */
    if (!is_honest(payload))
        return;
    switch (header_of(payload)->lie) {
    case 14: errno = EAGAIN; break;
    case 15: abort();
    case 16: exit(3);
    case 17: *(volatile char *)16 = 1; break;
    case 18:
        for (volatile int spin = 1; spin;)
            ;
    default: break; /* freed twice: not noticed */
    }
}

size_t liar_usable_size(void *payload)
{
    if (!is_honest(payload))
        return 1 << 20;
    return header_of(payload)->lie == 19 ? header_of(payload)->size / 2 : header_of(payload)->size;
}
