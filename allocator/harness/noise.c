/* Compiled into a subject's library for free-running threads: what its instrumented code calls at
 * each access of memory.  Now and then a thread waits there, so that what was a few instructions
 * wide is wide enough for another thread to come in between.
 *
 * All is off in a thread that has not been given a seed. */
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define HIDDEN __attribute__((visibility("hidden")))

enum { STEPS = 6, LONGEST = 10, SOON = 2 };

static _Thread_local uint64_t state;
static _Thread_local uint32_t left, spacing, widest;

/* A thread waits often when it starts, where much is done for the first time, and then less and less;
 * how often in the end is drawn anew for each. */
HIDDEN void allocheck_noise(uint64_t seed)
{
    state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    spacing = SOON;
    widest = 16u << (state >> 40) % STEPS * 2;
    left = (uint32_t)(state >> 32) % spacing;
}

static void wait_a_little(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    left = (uint32_t)(state >> 32) % (2 * spacing);
    int starting = spacing == SOON;
    if (spacing < widest && !(state >> 24 & 7))
        spacing *= 2;
    if ((state & (starting ? 1 : 15)) == 0) {
        int error = errno;
        nanosleep(&(struct timespec){ 0, 1000 }, NULL);
        errno = error;
    } else if ((state & 3) == 1) {
        sched_yield();
    } else {
        for (unsigned i = 0; i < 8u << (state >> 16) % LONGEST; i++)
            __builtin_ia32_pause();
    }
}

static inline void maybe(void)
{
    if (__builtin_expect(state && !left--, 0))
        wait_a_little();
}

#define ACCESS(name)                \
    HIDDEN void name(void *address); \
    void name(void *address)        \
    {                               \
        (void)address;              \
        maybe();                    \
    }

ACCESS(__sanitizer_cov_load1)
ACCESS(__sanitizer_cov_load2)
ACCESS(__sanitizer_cov_load4)
ACCESS(__sanitizer_cov_load8)
ACCESS(__sanitizer_cov_load16)
ACCESS(__sanitizer_cov_store1)
ACCESS(__sanitizer_cov_store2)
ACCESS(__sanitizer_cov_store4)
ACCESS(__sanitizer_cov_store8)
ACCESS(__sanitizer_cov_store16)

HIDDEN void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
}
