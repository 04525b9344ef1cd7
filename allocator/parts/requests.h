/* requests.h: the arithmetic of requests, the same everywhere: limits, rounding, refusal. */
#ifndef PARTS_REQUESTS_H
#define PARTS_REQUESTS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ALIGN = 16 }; /* of every payload: that of max_align_t on x86-64 */
#define MAX_REQUEST ((size_t)PTRDIFF_MAX)

/* `n` rounded up to a multiple of `multiple`, a power of two; n + multiple must not wrap. */
static inline size_t round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) & ~(multiple - 1);
}

static inline bool is_power_of_two(size_t n)
{
    return n && !(n & (n - 1));
}

/* What a refused request returns. */
static inline void *fail(int error)
{
    errno = error;
    return NULL;
}

#endif
