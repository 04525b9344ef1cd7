/* ---- threads that run freely: their blocks, and what is in them ---- */

/* Stands behind reproducer_ending.c, behind it what each thread does, then reproducer_rounds.c: it
 * is no program by itself.  A block is touched by who has taken it, and nothing else orders the
 * threads. */
#include <sched.h>
#include <stdatomic.h>

enum { SPINS = 200, PATIENCE = 3000 }; /* looks at a block that another thread is to make */
enum place_state { EMPTY, LIVE, TAKEN, GONE };

/* A block of one lap.  It lives from the stamp behind the call that granted it to the one before
 * the call that released it. */
static struct place {
    _Atomic int state;
    unsigned char *at;
    size_t size;
    uint64_t seed;
    unsigned granted, released;
    int step;
} places[REPRODUCER_LAPS * REPRODUCER_NAMES + 1];

static _Atomic unsigned now;

static QUIET unsigned stamp(void)
{
    return atomic_fetch_add_explicit(&now, 1, memory_order_relaxed) + 1;
}

/* ---- blocks ---- */

static QUIET void leave(struct place *place, enum place_state state)
{
    atomic_store_explicit(&place->state, state, memory_order_release);
}

/* Waits for a block that another thread is to make, for a while; 0: there is none. */
static QUIET int take(struct place *place)
{
    for (int tries = 0; tries < SPINS + PATIENCE; tries++) {
        int state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (state == GONE)
            return 0;
        if (state == LIVE && atomic_compare_exchange_strong(&place->state, &state, TAKEN))
            return 1;
        if (tries >= SPINS)
            sched_yield();
    }
    return 0;
}

static QUIET void verify(const char *rule, const unsigned char *at, const struct place *pattern_of,
                   size_t size)
{
    for (size_t i = 0; i < size; i = next_byte(i, pattern_of->size))
        if (at[i] != pattern(pattern_of->seed, i))
            violated(rule, "byte %zu of the block of operation %d is not what was written", i,
                     pattern_of->step);
}

static QUIET void check(const struct place *place)
{
    verify("content", place->at, place, place->size);
}

static QUIET void fill(struct place *place)
{
    place->seed = seed_of(place->step, stamp());
    for (size_t i = 0; i < place->size; i = next_byte(i, place->size))
        place->at[i] = pattern(place->seed, i);
}

static QUIET void admit(struct place *place, void *address, size_t size, size_t alignment)
{
    place->granted = stamp();
    place->at = address;
    place->size = size;
    place->step = step;
    if (size > PTRDIFF_MAX)
        violated("refusal", "%zu bytes were granted", size);
    if (alignment && (size_t)address % alignment)
        violated("alignment", "%p is not aligned to %zu", address, alignment);
#ifdef REPRODUCER_USABLE
    if (REPRODUCER_USABLE(address) < size)
        violated("usable", "usable_size says %zu of %zu", REPRODUCER_USABLE(address), size);
#endif
#ifndef REPRODUCER_SANITIZED
    if ((is_rule("bounds") || is_rule("oom")) && !is_inside(address, size))
        violated(REPRODUCER_RULE, "%zu bytes at %p are not in given memory", size, address);
#endif
}

static QUIET void granted(struct place *place, void *address, size_t size, size_t alignment)
{
    if (!address) {
        leave(place, GONE);
        return;
    }
    admit(place, address, size, alignment);
    fill(place);
    leave(place, LIVE);
}

static QUIET void cleared(struct place *place, void *address, size_t count, size_t size,
                          size_t alignment)
{
    size_t product;
    if (address && __builtin_mul_overflow(count, size, &product))
        violated("refusal", "%zu * %zu bytes were granted", count, size);
    for (size_t i = 0; address && i < product; i = next_byte(i, product))
        if (((unsigned char *)address)[i])
            violated("zeroed", "byte %zu is not zero", i);
    granted(place, address, address ? product : 0, alignment);
}

/* Of a block that was taken: the subject is about to have it. */
static QUIET void *releasing(struct place *place)
{
    check(place);
    place->released = stamp();
    return place->at;
}

static QUIET void resized(struct place *place, struct place *old, void *address, size_t size,
                    size_t alignment)
{
    int freed = address || (!size && !REPRODUCER_KEEPS);
    if (!freed) {
        old->released = 0;
        verify("survival", old->at, old, old->size);
    }
    leave(old, freed ? GONE : LIVE);
    if (address)
        verify("prefix", address, old, old->size < size ? old->size : size);
    granted(place, address, size, alignment);
}

/* What a thread does in a lap, from the place `at`; the place where it ends, or 0 for the lap. */
typedef int part(struct place *own, int at);
