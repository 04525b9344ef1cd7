/* ---- rounds: the threads set out together, again and again ---- */

/* Stands behind reproducer_race.c and the parts of the threads, and has the main. */
#include <sys/wait.h>
#include <time.h>

enum { SECONDS = 60, ROUNDS = 6, HANG_SECONDS = 10 };

static _Thread_local uint64_t noise; /* 0: none */
static _Thread_local unsigned steps, rarity;

static part *const parts[REPRODUCER_THREADS] = { REPRODUCER_PARTS };

static struct runner {
    part *part;
    int laps, lap, at;
    uint64_t seed;
    _Atomic int task; /* the kernel's number of the thread that is at it */
    char stack[STACK];
} runners[REPRODUCER_THREADS];

static _Atomic int ready, ended;

/* They set out together, the last one to come at once. */
static void wait_for_all(void)
{
    atomic_fetch_add(&ready, 1);
    for (int tries = 0; atomic_load(&ready) < REPRODUCER_THREADS; tries++)
        if (tries > SPINS)
            sched_yield();
}

/* Up to where the trace ends the thread. */
static void *live(void *argument)
{
    struct runner *me = argument;
    own_signal_stack(me->stack, sizeof me->stack);
    atomic_store(&me->task, (int)syscall(SYS_gettid));
    noise = me->seed += 978;
    rarity = (4u << (noise >> 40) % 8) - 1;
    if (!me->lap && !me->at)
        wait_for_all();
    for (; me->lap < me->laps; me->lap++) {
        me->at = me->part(&places[me->lap * REPRODUCER_NAMES], me->at);
        if (me->at)
            break;
    }
    atomic_store(&me->task, 0);
    return NULL;
}

/* One thread after the other, as often as the trace ends it. */
static void *live_on(void *argument)
{
    struct runner *me = argument;
    pthread_t id;
    while (me->lap < me->laps)
        if (pthread_create(&id, NULL, live, me) || pthread_join(id, NULL))
            _exit(3);
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static QUIET void wait_for(long nanoseconds)
{
    struct timespec moment = { 0, nanoseconds };
    nanosleep(&moment, NULL);
}

/* Stops a thread wherever it is, for as long as others need to get on. */
static void on_disturbance(int number)
{
    static volatile unsigned turn;
    int error = errno;
    (void)number;
    wait_for(500L << (turn++ % 8));
    errno = error;
}

static void disturb(struct runner *runner)
{
#ifndef REPRODUCER_SANITIZED
    int task = atomic_load(&runner->task);
    if (task)
        syscall(SYS_tgkill, getpid(), task, SIGURG);
#endif
    (void)runner;
}

/* ---- noise: built with -fsanitize-coverage=trace-pc, the subject waits now and then ---- */

static QUIET void make_noise(uint64_t seed)
{
    if (seed >> 62 == 0)
        wait_for(1000);
    else if (seed >> 62 == 1)
        sched_yield();
    else
        for (volatile unsigned i = 0; i < 8u << (seed >> 56 & 7); i++)
            ;
}

/* Often where a thread begins, then once in as many steps as its seed says. */
QUIET void __sanitizer_cov_trace_pc(void);
QUIET void __sanitizer_cov_trace_pc(void)
{
    if (!noise)
        return;
    uint64_t seed = noise = noise * UINT64_C(0x5851f42d4c957f2d) + UINT64_C(0x14057b7ef767814f);
    steps++;
    if (seed >> 32 & (steps < 64 ? 1 : rarity))
        return;
    noise = 0; /* not in here */
    make_noise(seed);
    noise = seed | 1;
}

/* ---- a round, and what can be told at its end ---- */

static void start(struct runner *runner, part *part, int laps, uint64_t seed)
{
    pthread_t id;
    runner->part = part;
    runner->laps = laps;
    runner->lap = runner->at = 0;
    runner->seed = seed;
    if (pthread_create(&id, NULL, live_on, runner) || pthread_detach(id))
        _exit(3);
}

static void run_round(int laps, uint64_t seed)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        places[i] = (struct place){ 0 };
    atomic_store(&ready, 0);
    atomic_store(&ended, 0);
    alarm(HANG_SECONDS);
    for (int i = 0; i < REPRODUCER_THREADS; i++)
        start(&runners[i], parts[i], laps, seed + (uint64_t)i * UINT64_C(0x632be59bd9b4e019));
    while (atomic_load(&ended) < REPRODUCER_THREADS) {
        seed = seed * UINT64_C(0x5851f42d4c957f2d) + UINT64_C(0x14057b7ef767814f);
        wait_for(5000 + (long)(seed >> 48));
        disturb(&runners[(seed >> 32) % REPRODUCER_THREADS]);
    }
}

static int were_both_live(const struct place *a, const struct place *b)
{
    return (!a->released || b->granted < a->released) && (!b->released || a->granted < b->released);
}

static void compare(const struct place *a, const struct place *b)
{
    step = a->granted > b->granted ? a->step : b->step;
    if (b->granted && a->at < b->at + b->size && b->at < a->at + a->size && were_both_live(a, b))
        violated("overlap", "the blocks of operations %d and %d share bytes", a->step, b->step);
}

/* Nobody else runs any more: what lives is checked, and freed. */
static void settle(int laps)
{
    int count = laps * REPRODUCER_NAMES;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i && places[i].granted; j++)
            compare(&places[i], &places[j]);
    for (int i = 0; i < count; i++)
        if (places[i].state == LIVE)
            check(&places[i]);
#ifdef REPRODUCER_CHECK
    const char *broken = REPRODUCER_CHECK();
    if (broken)
        violated(broken, "the allocator's own validity predicate objects");
#endif
    deny(0);
    for (int i = 0; i < count; i++)
        if (places[i].state == LIVE)
            REPRODUCER_FREE(places[i].at);
}

/* ---- runs, each in a process of its own ---- */

/* Every other one is brief: what goes wrong at the start of a process takes many of them. */
static void run(unsigned number)
{
    struct sigaction disturbance = { .sa_handler = on_disturbance,
                                     .sa_flags = SA_RESTART | SA_ONSTACK };
    int laps = number % 2 ? REPRODUCER_LAPS : 1, rounds = number % 2 ? ROUNDS : 1;
    open_world();
    sigaction(SIGURG, &disturbance, NULL);
    begin();
    for (int round = 0; round < rounds; round++) {
        run_round(laps, (number * ROUNDS + (unsigned)round) * UINT64_C(0x9e3779b97f4a7c15) | 1);
        settle(laps);
    }
    finished = 1;
    exit(0);
}

/* What the process that ran it showed: 0 nothing, 1 a broken rule, else it could not run. */
static int outcome(pid_t process)
{
    int status;
    if (process < 0 || waitpid(process, &status, 0) < 0)
        return 3;
    if (WIFSIGNALED(status))
        printf("violated: %s, signal %d\n", rule_of_ending("crash"), WTERMSIG(status));
    return WIFSIGNALED(status) ? 1 : WEXITSTATUS(status);
}

#ifdef REPRODUCER_SANITIZED
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "exitcode=1:halt_on_error=1"; }
#endif

int main(int count, char **words)
{
    long seconds = count > 1 ? atol(words[1]) : SECONDS;
    time_t end = time(NULL) + seconds;
    for (unsigned number = 0; time(NULL) <= end; number++) {
        fflush(stdout);
        pid_t process = fork();
        if (!process)
            run(number);
        int shown = outcome(process);
        if (shown) {
            printf("in run %u; threads run freely: another time it takes more, or fewer\n",
                   number + 1);
            return shown;
        }
    }
    printf("not reproduced in %ld seconds: threads run freely, so try again\n", seconds);
    return 0;
}
