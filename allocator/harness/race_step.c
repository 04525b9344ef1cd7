/* A block is touched by who has taken it: it is free for one thread at a time, and handing it over
 * is all that orders the threads.  They wait for blocks of operations that stand earlier in the
 * trace, so never in a circle, and not for long. */
#include "race_step.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "pattern.h"

enum { YIELDS = 3000, ERRNO_UNTOUCHED = 0x5eed };
#define ADDRESSES (UINT64_C(1) << 47)

/* ---- noting ---- */

struct damage *race_note(struct race *race, enum damage_kind kind, uint32_t op, uint32_t name)
{
    static struct damage beyond_capacity;
    struct run *run = race->run;
    struct damage *damage = &beyond_capacity;
    pthread_mutex_lock(&race->field->noting);
    run->suspicious = 1;
    atomic_store_explicit(&race->field->stop, 1, RELAXED);
    if (run->damage_count < DAMAGE_CAPACITY)
        damage = &race->damages[run->damage_count++];
    *damage = (struct damage){ .op = op, .name = name, .kind = (uint8_t)kind };
    pthread_mutex_unlock(&race->field->noting);
    return damage;
}

static void suspect(struct race *race, int really)
{
    if (!really)
        return;
    pthread_mutex_lock(&race->field->noting);
    race->run->suspicious = 1;
    atomic_store_explicit(&race->field->stop, 1, RELAXED);
    pthread_mutex_unlock(&race->field->noting);
}

static void note_bytes(const struct runner *me, enum damage_kind kind, uint32_t name,
                       const struct place *place, uint64_t seed, size_t wrong)
{
    struct damage *damage = race_note(me->field->race, kind, me->at, name);
    damage->offset = wrong;
    damage->expected = kind == DAMAGE_ZEROED ? 0 : pattern_byte(seed, wrong);
    damage->seen = ((const unsigned char *)place->address)[wrong];
}

/* ---- time ---- */

static uint32_t stamp(struct field *all)
{
    return atomic_fetch_add_explicit(&all->clock, 1, RELAXED) + 1;
}

uint64_t race_draw(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void spin(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        __builtin_ia32_pause();
}

static void dawdle(struct runner *me, int first)
{
    uint64_t draws = race_draw(&me->random);
    if ((draws & 31) == 0 && !first)
        sched_yield();
    else if ((draws & 3) == 1)
        spin(draws >> 8 & 63);
}

/* ---- blocks ---- */

/* Takes a live block, when its maker has got that far; NULL where there is none, or not for long. */
static struct place *take(struct runner *me, uint64_t name)
{
    if (name >= me->field->names)
        return NULL;
    struct place *place = &me->field->places[name];
    for (unsigned tries = 0; tries < RACE_SPINS + YIELDS; tries++) {
        uint32_t state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (state == GONE || atomic_load_explicit(&me->field->stop, RELAXED))
            return NULL;
        if (state == LIVE
            && atomic_compare_exchange_strong_explicit(&place->state, &state, TAKEN,
                                                       memory_order_acquire, RELAXED))
            return place;
        if (tries < RACE_SPINS)
            __builtin_ia32_pause();
        else
            sched_yield();
    }
    return NULL;
}

static void leave(struct place *place, enum place_state state)
{
    atomic_store_explicit(&place->state, state, memory_order_release);
}

static void fill(struct runner *me, uint32_t name, struct place *place)
{
    if (!place->filled)
        return;
    place->seed = pattern_seed(name, (uint32_t)me->field->round * 64 + place->generation++);
    pattern_fill((unsigned char *)place->address, place->filled, place->seed);
}

int race_verify(struct runner *me, uint32_t name, const struct place *place,
                enum damage_kind kind)
{
    if (!place->filled)
        return 1;
    size_t wrong = pattern_check((const unsigned char *)place->address, place->filled,
                                 place->filled, place->seed);
    if (wrong == place->filled)
        return 1;
    note_bytes(me, kind, name, place, place->seed, wrong);
    return 0;
}

static void verify_zero(struct runner *me, uint32_t name, const struct place *place)
{
    const unsigned char *bytes = (const unsigned char *)place->address;
    size_t length = place->size > PATTERN_WHOLE ? PATTERN_END : place->size;
    size_t wrong = place->filled ? first_other_byte(bytes, length, 0) : length;
    if (wrong < length)
        note_bytes(me, DAMAGE_ZEROED, name, place, 0, wrong);
}

static uint64_t promised_alignment(const struct config *config, uint64_t size)
{
    if (config->alignment)
        return config->alignment;
    return size >= 16 ? 16 : size ? UINT64_C(1) << (63 - __builtin_clzll(size)) : 1;
}

static int looks_wrong(const struct race *race, const struct op *op,
                       const struct observation *seen, uint64_t size)
{
    uint64_t wrong = seen->address & (promised_alignment(race->config, size) - 1);
    if (op->kind >= OP_ALIGNED_ALLOC && op->kind <= OP_POSIX_MEMALIGN)
        wrong |= (op->first & (op->first - 1)) | (seen->address & (op->first - 1));
    wrong |= size > race->config->max_size || size > ADDRESSES;
    wrong |= seen->flags & SEEN_OUTSIDE;
    return wrong || (race->subject->usable_size && seen->usable < size);
}

/* Writes down a block that was granted; what may be written of it is the place's `filled`. */
static void admit(struct runner *me, const struct op *op, struct observation *seen,
                  void *address, uint64_t size)
{
    struct race *race = me->field->race;
    struct place *place = &me->field->places[op->name];
    seen->granted = (seen->granted & ~(uint64_t)UINT32_MAX) | stamp(me->field);
    seen->address = (uint64_t)address;
    if (race->subject->usable_size)
        seen->usable = race->subject->usable_size(address);
    place->address = (uint64_t)address;
    place->size = size;
    place->filled = 0;
    int known = size && size <= ADDRESSES && race->config->memory_known && race->inside;
    if (known && !race->inside(race->context, place->address, size))
        seen->flags |= SEEN_OUTSIDE;
    if (!size || size > ADDRESSES || seen->flags & SEEN_OUTSIDE)
        seen->flags |= SEEN_UNFILLED;
    else
        place->filled = size;
    suspect(race, looks_wrong(race, op, seen, size));
}

/* ---- operations ---- */

static uint64_t requested_bytes(const struct op *op)
{
    uint64_t size;
    if (op->kind == OP_MALLOC)
        return op->first;
    if (op->kind == OP_CALLOC)
        return __builtin_mul_overflow(op->first, op->second, &size) ? UINT64_MAX : size;
    return op->second;
}

static int has(const struct subject *subject, const struct op *op)
{
    switch (op->kind) {
    case OP_MALLOC: return 1;
    case OP_CALLOC: return subject->calloc != NULL;
    case OP_ALIGNED_ALLOC: return subject->aligned_alloc != NULL;
    case OP_MEMALIGN: return subject->memalign != NULL;
    default: return subject->posix_memalign != NULL;
    }
}

static void *call(const struct subject *subject, const struct op *op, int *result)
{
    void *address = NULL;
    switch (op->kind) {
    case OP_MALLOC: return subject->malloc(op->first);
    case OP_CALLOC: return subject->calloc(op->first, op->second);
    case OP_ALIGNED_ALLOC: return subject->aligned_alloc(op->first, op->second);
    case OP_MEMALIGN: return subject->memalign(op->first, op->second);
    default:
        *result = subject->posix_memalign(&address, op->first, op->second);
        return *result ? NULL : address;
    }
}

static void before(struct observation *seen)
{
    seen->flags |= SEEN_BEGUN;
    errno = ERRNO_UNTOUCHED;
}

static void after(struct observation *seen)
{
    int error = errno;
    seen->flags |= SEEN_RETURNED;
    if (error != ERRNO_UNTOUCHED) {
        seen->flags |= SEEN_ERRNO;
        seen->error = error;
    }
}

static void failed(struct runner *me, const struct op *op, const struct observation *seen)
{
    struct race *race = me->field->race;
    int told = op->kind == OP_POSIX_MEMALIGN || seen->flags & SEEN_ERRNO;
    int expected = seen->error == ENOMEM || seen->error == EINVAL;
    suspect(race, race->config->enomem && requested_bytes(op) && !(told && expected));
}

static void do_allocation(struct runner *me, const struct op *op, struct observation *seen)
{
    const struct subject *subject = me->field->race->subject;
    struct place *place = &me->field->places[op->name];
    int result = 0;
    if (!has(subject, op)) {
        seen->flags |= SEEN_SKIPPED;
        leave(place, GONE);
        return;
    }
    before(seen);
    void *address = call(subject, op, &result);
    after(seen);
    if (op->kind == OP_POSIX_MEMALIGN)
        seen->error = result;
    if (!address) {
        failed(me, op, seen);
        leave(place, GONE);
        return;
    }
    admit(me, op, seen, address, requested_bytes(op));
    if (op->kind == OP_CALLOC)
        verify_zero(me, op->name, place);
    fill(me, op->name, place);
    leave(place, LIVE);
}

static void resized(struct runner *me, const struct op *op, struct observation *seen,
                    void *address, struct place *old)
{
    struct place *place = &me->field->places[op->name];
    admit(me, op, seen, address, op->second);
    size_t kept = old && old->size < place->size ? old->size : place->size;
    if (old && old->filled && place->filled) {
        size_t wrong = pattern_check((const unsigned char *)address, old->filled, kept, old->seed);
        if (wrong < kept)
            note_bytes(me, DAMAGE_PREFIX, op->name, place, old->seed, wrong);
    }
    fill(me, op->name, place);
    leave(place, LIVE);
}

static void do_realloc(struct runner *me, const struct op *op, struct observation *seen)
{
    const struct race *race = me->field->race;
    const struct config *config = race->config;
    struct place *old = NULL, *place = &me->field->places[op->name];
    int allowed = race->subject->realloc && (op->first != NIL || config->realloc_null)
                  && (op->second || config->realloc_zero != REALLOC_ZERO_NEVER);
    if (allowed && op->first != NIL)
        allowed = (old = take(me, op->first)) != NULL;
    if (!allowed) {
        seen->flags |= SEEN_SKIPPED;
        leave(place, GONE);
        return;
    }
    if (old && !race_verify(me, (uint32_t)op->first, old, DAMAGE_CONTENT))
        old->filled = 0;
    uint64_t released = old ? (uint64_t)stamp(me->field) << 32 : 0;
    before(seen);
    void *address = race->subject->realloc(old ? (void *)old->address : NULL, op->second);
    after(seen);
    if (address) {
        seen->granted = released;
        resized(me, op, seen, address, old);
    } else {
        leave(place, GONE);
        failed(me, op, seen);
    }
    int freed = address || (!op->second && config->realloc_zero != REALLOC_ZERO_KEEP);
    if (old && !address && freed)
        seen->granted = released;
    if (old && !freed)
        race_verify(me, (uint32_t)op->first, old, DAMAGE_SURVIVAL);
    if (old)
        leave(old, freed ? GONE : LIVE);
}

static void do_free(struct runner *me, const struct op *op, struct observation *seen)
{
    const struct race *race = me->field->race;
    int null = op->first == NIL && race->config->free_null;
    struct place *place = race->subject->free && !null ? take(me, op->first) : NULL;
    if (!race->subject->free || (!place && !null)) {
        seen->flags |= SEEN_SKIPPED;
        return;
    }
    if (place)
        race_verify(me, (uint32_t)op->first, place, DAMAGE_CONTENT);
    seen->granted = place ? (uint64_t)stamp(me->field) << 32 : 0;
    before(seen);
    race->subject->free(place ? (void *)place->address : NULL);
    after(seen);
    suspect(me->field->race, race->config->free_preserves_errno && seen->flags & SEEN_ERRNO);
    if (place)
        leave(place, GONE);
}

static void do_write(struct runner *me, const struct op *op, struct observation *seen)
{
    struct place *place = take(me, op->first);
    if (!place) {
        seen->flags |= SEEN_SKIPPED;
        return;
    }
    race_verify(me, (uint32_t)op->first, place, DAMAGE_CONTENT);
    fill(me, (uint32_t)op->first, place);
    seen->flags |= SEEN_RETURNED;
    leave(place, LIVE);
}

static void do_other(struct race *race, const struct op *op, struct observation *seen)
{
    if (op->kind == OP_DENY && race->deny)
        race->deny(race->context, op->first);
    else if (op->kind != OP_FOREIGN || !race->config->foreign || !race->foreign
             || !race->foreign(race->context, op->first)) {
        seen->flags |= SEEN_SKIPPED;
        return;
    }
    seen->flags |= SEEN_RETURNED;
}

static void operate(struct runner *me, const struct op *op, struct observation *seen)
{
    switch (op->kind) {
    case OP_MALLOC:
    case OP_CALLOC:
    case OP_ALIGNED_ALLOC:
    case OP_MEMALIGN:
    case OP_POSIX_MEMALIGN: do_allocation(me, op, seen); break;
    case OP_REALLOC: do_realloc(me, op, seen); break;
    case OP_FREE: do_free(me, op, seen); break;
    case OP_WRITE: do_write(me, op, seen); break;
    default: do_other(me->field->race, op, seen);
    }
}

void race_step(struct runner *me, const struct op *op, struct observation *seen)
{
    dawdle(me, me->next == 1);
    operate(me, op, seen);
}
