/* preload.c: a bundled allocator as the malloc of a whole program, through LD_PRELOAD.
 *
 * The functions here have the names and the manners of the C library's (C23 7.24.3, POSIX, and
 * glibc where programs rely on it): one heap behind one lock, opened at the first call, usable in
 * a child after fork.  The allocator itself is reached through its description's calls, which
 * allocator/adapter.py writes down as allocheck_malloc, allocheck_free, ...; nothing of the
 * harness is in the shared object.
 *
 * realloc(p, 0) frees p and returns NULL, as glibc's does: programs written for it would leak the
 * block of its own that mem.h gives.
 *
 * An allocator that lives in an array of its user's gets one of DROPIN_ARENA bytes.  With
 * DROPIN_COUNTS it counts calls and bytes, and says so when the process ends.
 */
#define _GNU_SOURCE
#include <stddef.h>

#include "lock.h"

#define EXPORT __attribute__((visibility("default")))

int allocheck_init(void *arena, size_t arena_size);
void *allocheck_malloc(size_t size);
void *allocheck_calloc(size_t count, size_t size);
void *allocheck_realloc(void *payload, size_t size);
void *allocheck_aligned_alloc(size_t alignment, size_t size);
void allocheck_free(void *payload);
size_t allocheck_usable_size(void *payload);

enum { PAGE = 4096 };

#ifdef DROPIN_COUNTS
#include "counts.h"
#else
#define count_call(which) ((void)0)
#define count_gain(payload) ((void)0)
#define count_loss(payload) ((void)0)
#endif

#ifdef DROPIN_ARENA
static _Alignas(PAGE) char arena[DROPIN_ARENA];
#define ARENA arena, sizeof arena
#else
#define ARENA NULL, 0
#endif

static bool opened; /* guarded by the lock */

/* Takes the lock, and opens the heap when nobody has: who calls first may be the dynamic linker,
 * before any constructor has run. */
static bool enter(void)
{
    bool taken = lock_take();
    if (!opened) {
        opened = true;
        allocheck_init(ARENA);
        lock_give(taken);
        /* First come, first served: what is registered later is called earlier before a fork, and
         * may still wait for threads that allocate.  It may itself allocate. */
        pthread_atfork(lock_before_fork, lock_after_fork, lock_in_child);
        taken = lock_take();
    }
    return taken;
}

static void *give(bool taken, void *payload)
{
    count_gain(payload);
    lock_give(taken);
    return payload;
}

static void *refuse(int error)
{
    errno = error;
    return NULL;
}

EXPORT void *malloc(size_t size)
{
    bool taken = enter();
    count_call(COUNT_MALLOC);
    return give(taken, allocheck_malloc(size));
}

EXPORT void *calloc(size_t count, size_t size)
{
    bool taken = enter();
    count_call(COUNT_CALLOC);
    return give(taken, allocheck_calloc(count, size));
}

EXPORT void free(void *payload)
{
    if (!payload)
        return;
    bool taken = enter();
    count_call(COUNT_FREE);
    count_loss(payload);
    allocheck_free(payload);
    lock_give(taken);
}

EXPORT void *realloc(void *payload, size_t size)
{
    if (!payload)
        return malloc(size);
    if (!size) {
        free(payload);
        return NULL;
    }
    bool taken = enter();
    count_call(COUNT_REALLOC);
    count_loss(payload);
    void *moved = allocheck_realloc(payload, size);
    if (!moved)
        count_gain(payload);
    return give(taken, moved);
}

EXPORT void *reallocarray(void *payload, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return refuse(ENOMEM);
    return realloc(payload, bytes);
}

static void *aligned(size_t alignment, size_t size)
{
    bool taken = enter();
    count_call(COUNT_ALIGNED);
    return give(taken, allocheck_aligned_alloc(alignment, size));
}

/* C23: any size; the alignment must be a supported one, which a power of two is. */
EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return aligned(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return aligned(alignment, size);
}

/* POSIX: the error is returned, errno stays, and on failure *result does too. */
EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
    bool is_power = alignment && !(alignment & (alignment - 1));
    if (!is_power || alignment % sizeof(void *))
        return EINVAL;
    int before = errno;
    void *payload = aligned(alignment, size);
    int error = payload ? 0 : ENOMEM;
    errno = before;
    if (payload)
        *result = payload;
    return error;
}

EXPORT void *valloc(size_t size)
{
    return aligned(PAGE, size);
}

EXPORT void *pvalloc(size_t size)
{
    if (size > SIZE_MAX - PAGE)
        return refuse(ENOMEM);
    return aligned(PAGE, (size + PAGE - 1) & ~(size_t)(PAGE - 1));
}

EXPORT size_t malloc_usable_size(void *payload)
{
    if (!payload)
        return 0;
    bool taken = enter();
    size_t size = allocheck_usable_size(payload);
    lock_give(taken);
    return size;
}

/* C23 7.24.3.4 and 7.24.3.5: the sizes are hints that this heap does not need. */
EXPORT void free_sized(void *payload, size_t size)
{
    (void)size;
    free(payload);
}

EXPORT void free_aligned_sized(void *payload, size_t alignment, size_t size)
{
    (void)alignment, (void)size;
    free(payload);
}
