/* A block is touched by who has taken it: it is free for one thread at a time, and handing it over
 * is all that orders the threads.  They wait for blocks of operations that stand earlier in the
 * trace, so never in a circle, and not for long. */
#define _GNU_SOURCE
#include "race.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

enum { SPINS = 200, YIELDS = 3000, STACK = 1 << 20, ERRNO_UNTOUCHED = 0x5eed, SIGN_OF_LIFE = 15,
       STILL = 50000000, LOOKS = 4 }; /* nanoseconds; times */
#define RELAXED memory_order_relaxed
#define ADDRESSES (UINT64_C(1) << 47)

/* EMPTY until its operation is done; TAKEN while a thread uses it; GONE: failed, skipped, freed. */
enum place_state { EMPTY, LIVE, TAKEN, GONE };

struct place {
    _Atomic uint32_t state;
    uint32_t generation;
    uint64_t address, size, filled, seed;
};

struct runner {
    struct field *field;
    uint32_t number, count;
    uint32_t *mine; /* its operations, by index */
    uint32_t next;  /* of them */
    uint32_t at;    /* the one under way */
    uint64_t random;
    _Atomic int task; /* the kernel's number of the thread; 0: it has done its part */
};

struct field {
    struct race *race;
    struct place *places;
    uint32_t names;
    struct runner runners[THREADS];
    int count;
    _Atomic uint32_t clock;
    _Atomic int ready, stop;
    pthread_mutex_t noting;
    uint64_t round;
};

static struct field field;

/* ---- noting ---- */

struct damage *race_note(struct race *race, enum damage_kind kind, uint32_t op, uint32_t name)
{
    static struct damage beyond_capacity;
    struct run *run = race->run;
    struct damage *damage = &beyond_capacity;
    pthread_mutex_lock(&field.noting);
    run->suspicious = 1;
    atomic_store_explicit(&field.stop, 1, RELAXED);
    if (run->damage_count < DAMAGE_CAPACITY)
        damage = &race->damages[run->damage_count++];
    *damage = (struct damage){ .op = op, .name = name, .kind = (uint8_t)kind };
    pthread_mutex_unlock(&field.noting);
    return damage;
}

static void suspect(struct race *race, int really)
{
    if (!really)
        return;
    pthread_mutex_lock(&field.noting);
    race->run->suspicious = 1;
    atomic_store_explicit(&field.stop, 1, RELAXED);
    pthread_mutex_unlock(&field.noting);
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

static uint64_t draw(uint64_t *state)
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
    uint64_t draws = draw(&me->random);
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
    for (unsigned tries = 0; tries < SPINS + YIELDS; tries++) {
        uint32_t state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (state == GONE || atomic_load_explicit(&me->field->stop, RELAXED))
            return NULL;
        if (state == LIVE
            && atomic_compare_exchange_strong_explicit(&place->state, &state, TAKEN,
                                                       memory_order_acquire, RELAXED))
            return place;
        if (tries < SPINS)
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

static int verify(struct runner *me, uint32_t name, const struct place *place,
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
    if (old && !verify(me, (uint32_t)op->first, old, DAMAGE_CONTENT))
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
        verify(me, (uint32_t)op->first, old, DAMAGE_SURVIVAL);
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
        verify(me, (uint32_t)op->first, place, DAMAGE_CONTENT);
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
    verify(me, (uint32_t)op->first, place, DAMAGE_CONTENT);
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

/* ---- a round ---- */

/* Two threads may show one between them. */
static void show_life(struct race *race)
{
    __atomic_store_n(race->calls, __atomic_load_n(race->calls, __ATOMIC_RELAXED) + 1,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&race->run->runs, __atomic_load_n(&race->run->runs, __ATOMIC_RELAXED) + 1,
                     __ATOMIC_RELAXED);
}

/* Up to where the thread ends: at its last operation, or where the trace says so. */
static void part(void *argument)
{
    struct runner *me = argument;
    struct race *race = me->field->race;
    while (me->next < me->count && !atomic_load_explicit(&me->field->stop, RELAXED)) {
        uint32_t i = me->next++;
        me->at = me->mine[i];
        if (race->ops[me->at].kind == OP_END_THREAD)
            break;
        dawdle(me, i == 0);
        operate(me, &race->ops[me->at], &race->observations[me->at]);
        if (!(i & SIGN_OF_LIFE))
            show_life(race);
    }
    me->at = race->run->op_count;
    if (race->subject->thread_ends)
        race->subject->thread_ends();
}

static void *live(void *argument);

static void go_on(struct runner *me)
{
    pthread_t id;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&id, &attributes, live, me))
        abort();
    pthread_attr_destroy(&attributes);
}

/* They set out together, the last one to come at once. */
static void wait_for_all(struct runner *me)
{
    struct field *all = me->field;
    atomic_fetch_add_explicit(&all->ready, 1, RELAXED);
    for (unsigned tries = 0; atomic_load_explicit(&all->ready, RELAXED) < all->count; tries++)
        if (tries < SPINS)
            __builtin_ia32_pause();
        else
            sched_yield();
}

static void *live(void *argument)
{
    struct runner *me = argument;
    struct race *race = me->field->race;
    atomic_store_explicit(&me->task, (int)syscall(SYS_gettid), RELAXED);
    if (race->subject->noise)
        race->subject->noise(draw(&me->random));
    if (!me->next)
        wait_for_all(me);
    if (race->live)
        race->live(race->context, part, me, &me->at);
    else
        part(me);
    if (me->next < me->count && !atomic_load_explicit(&me->field->stop, RELAXED))
        go_on(me);
    else
        atomic_store_explicit(&me->task, 0, memory_order_release);
    return NULL;
}

/* ---- watching it ---- */

static void pause_for(long nanoseconds)
{
    struct timespec moment = { 0, nanoseconds };
    nanosleep(&moment, NULL);
}

/* Stops a thread for as long as others need to get on: wherever it is, in the middle of a change. */
static void on_disturbance(int number)
{
    static volatile unsigned turn;
    int error = errno;
    (void)number;
    pause_for(500L << (turn++ % 8));
    errno = error;
}

static int all_ended(const struct field *all)
{
    for (int i = 0; i < all->count; i++)
        if (atomic_load_explicit(&all->runners[i].task, memory_order_acquire))
            return 0;
    return 1;
}

/* Whether a thread waits for something, rather than for a processor. */
static int is_asleep(int task)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", task);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (size <= 0)
        return 0;
    text[size] = 0;
    const char *state = strrchr(text, ')');
    return state && state[1] == ' ' && state[2] == 'S';
}

static int all_asleep(const struct field *all)
{
    for (int i = 0; i < all->count; i++) {
        int task = atomic_load_explicit(&all->runners[i].task, RELAXED);
        if (task && !is_asleep(task))
            return 0;
    }
    return 1;
}

static void disturb(struct field *all, uint64_t *random)
{
    int one = atomic_load_explicit(&all->runners[draw(random) % (unsigned)all->count].task, RELAXED);
    if (one)
        syscall(SYS_tgkill, getpid(), one, SIGURG);
}

/* Until all have ended; a thread at rest for so long that no other one moves is at rest for ever. */
static void watch(struct field *all)
{
    uint64_t random = all->race->run->race_seed ^ all->round << 32;
    uint64_t before = 0, still = 0, looks = 0;
    int disturbs = all->race->disturbed && all->round & 1;
    while (!all_ended(all)) {
        long moment = disturbs && still < STILL ? 5000 + (long)(draw(&random) & 65535) : 200000;
        pause_for(moment);
        uint64_t now = __atomic_load_n(&all->race->run->runs, __ATOMIC_RELAXED);
        still = now == before ? still + (uint64_t)moment : 0;
        before = now;
        if (still < STILL)
            looks = 0;
        else if (still > STILL * (looks + 1))
            looks = all_asleep(all) ? looks + 1 : 0, still = looks ? still : 0;
        if (looks == LOOKS && all->race->stuck)
            all->race->stuck(all->race->context);
        if (disturbs && still < STILL)
            disturb(all, &random);
    }
}

static void run_round(struct field *all)
{
    struct race *race = all->race;
    memset(race->observations, 0, race->run->op_count * sizeof *race->observations);
    for (uint32_t name = 0; name < all->names; name++)
        all->places[name] = (struct place){ .state = EMPTY };
    atomic_store(&all->clock, 0);
    atomic_store(&all->ready, 0);
    for (int i = 0; i < all->count; i++) {
        struct runner *runner = &all->runners[i];
        runner->random = race->run->race_seed + all->round * 977
                         + runner->number * UINT64_C(0x632be59bd9b4e019);
        runner->at = runner->next = 0;
        atomic_store(&runner->task, -1);
    }
    for (int i = 0; i < all->count; i++)
        go_on(&all->runners[i]);
    watch(all);
}

/* The contents of all that lives, and then its end: the next round begins with nothing live. */
static void settle(struct field *all)
{
    struct race *race = all->race;
    struct runner me = { .field = all, .at = race->run->op_count };
    for (uint32_t name = 0; name < all->names; name++)
        if (all->places[name].state == LIVE)
            verify(&me, name, &all->places[name], DAMAGE_CONTENT);
    show_life(race);
    if (race->quiet)
        race->quiet(race);
    if (race->deny)
        race->deny(race->context, 0);
    for (uint32_t name = 0; name < all->names && !race->run->suspicious; name++)
        if (all->places[name].state == LIVE && race->subject->free)
            race->subject->free((void *)all->places[name].address);
}

/* ---- the whole ---- */

uint32_t race_names(const struct race *race)
{
    uint32_t names = 0;
    for (uint32_t i = 0; i < race->run->op_count; i++)
        if (race->ops[i].name != NO_NAME && race->ops[i].name >= names)
            names = race->ops[i].name + 1;
    return names;
}

static int share_out(struct field *all)
{
    const struct race *race = all->race;
    uint32_t count = race->run->op_count, lengths[THREADS] = { 0 }, current = 0;
    uint32_t *lists = malloc((size_t)THREADS * (count + 1) * sizeof *lists);
    if (!lists)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        const struct op *op = &race->ops[i];
        if (op->kind == OP_THREAD && op->first < THREADS)
            current = (uint32_t)op->first;
        if (op->kind == OP_END_THREAD && op->first < THREADS)
            lists[op->first * (count + 1) + lengths[op->first]++] = i;
        else if (op->kind != OP_THREAD && op->kind != OP_FREE_ALL)
            lists[current * (count + 1) + lengths[current]++] = i;
    }
    all->count = 0;
    for (uint32_t number = 0; number < THREADS; number++)
        if (lengths[number])
            all->runners[all->count++] = (struct runner){
                .field = all, .number = number, .count = lengths[number],
                .mine = &lists[number * (count + 1)],
            };
    return 0;
}

void race_run(struct race *race)
{
    struct run *run = race->run;
    field = (struct field){ .race = race, .names = race_names(race),
                            .noting = PTHREAD_MUTEX_INITIALIZER };
    field.places = calloc(field.names + 1, sizeof *field.places);
    if (!field.places || share_out(&field))
        abort();
    if (race->disturbed)
        sigaction(SIGURG, &(struct sigaction){ .sa_handler = on_disturbance,
                                               .sa_flags = SA_RESTART | SA_ONSTACK }, NULL);
    for (field.round = 0; field.round < run->race_rounds && !run->suspicious; field.round++) {
        run->race_done = (uint32_t)field.round;
        show_life(race);
        run_round(&field);
        settle(&field);
    }
    run->race_done = (uint32_t)field.round;
}
