/* Rounds: all threads of a trace set out together, are disturbed, and watched until the last of them
 * has done its part. */
#define _GNU_SOURCE
#include "race.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "race_step.h"

enum { STACK = 1 << 20, SIGN_OF_LIFE = 15, STILL = 50000000, LOOKS = 4 }; /* nanoseconds; times */

static struct field field;

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
        race_step(me, &race->ops[me->at], &race->observations[me->at]);
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
        if (tries < RACE_SPINS)
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
        race->subject->noise(race_draw(&me->random));
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
    int one = atomic_load_explicit(&all->runners[race_draw(random) % (unsigned)all->count].task, RELAXED);
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
        long moment = disturbs && still < STILL ? 5000 + (long)(race_draw(&random) & 65535) : 200000;
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
            race_verify(&me, name, &all->places[name], DAMAGE_CONTENT);
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
    race->field = &field;
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
