/* ---- how a program ends, and what it writes into blocks ---- */

/* Stands behind reproducer_store.c, the checks of reproducer.c or reproducer_race.c behind it: it
 * is no program by itself. */
#include <signal.h>

#ifdef REPRODUCER_ARENA
static _Alignas(65536) unsigned char arena[REPRODUCER_ARENA];
#endif

enum { STACK = 1 << 16 }; /* bytes of a thread's own for signals */

static volatile sig_atomic_t expect_abort;
static int finished;

/* Where an ending is only the way in which another rule is broken. */
static const char *rule_of_ending(const char *ending)
{
    if (expect_abort && is_rule("misuse")) /* not the ending that was promised */
        return REPRODUCER_RULE;
    return is_rule("oom") || is_rule("null") || is_rule("bounds") ? REPRODUCER_RULE : ending;
}

static void on_signal(int number)
{
    if (number == SIGABRT && expect_abort)
        _exit(write(1, "not reproduced: the misuse was detected\n", 40) < 0);
    const char *ending = number == SIGABRT ? "abort" : number == SIGALRM ? "hang" : "crash";
    violated(rule_of_ending(ending), "signal %d", number);
}

#ifdef __GLIBC__
/* The C library's own asks for memory to say the same, perhaps of the subject. */
void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
{
    (void)function;
    if (!expect_abort)
        violated(rule_of_ending("abort"), "%s:%u: %s", file, line, text);
    abort();
}
#endif

static void on_exit_called(void)
{
    if (!finished)
        violated(rule_of_ending("exit"), "exit was called");
}

/* ---- bytes ---- */

/* The bytes with which the trace was found: what is taken for an address may depend on them. */
static QUIET uint64_t seed_of(int name, unsigned fills)
{
    uint64_t x = ((uint64_t)fills << 32 | (unsigned)name) + 1;
    x = (x ^ (x >> 31)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 27);
}

static QUIET unsigned char pattern(uint64_t seed, size_t at)
{
    return (unsigned char)((seed + at / 8 * UINT64_C(0x9e3779b97f4a7c15)) >> (8 * (at % 8)));
}

/* Large blocks are filled and checked at their ends. */
static QUIET size_t next_byte(size_t at, size_t size)
{
    return size > 1 << 17 && at == 16383 ? (size - 16384) & ~(size_t)7 : at + 1;
}

#ifndef REPRODUCER_SANITIZED
/* Inside what the subject was given; its own static data is not known here. */
static QUIET int is_inside(const unsigned char *at, size_t size)
{
    ALONE_IN_THE_WORLD;
    size_t offset = (size_t)(at - world.maps);
    for (int i = 0; i < world.foreigners; i++)
        if (at < world.foreign[i].at + world.foreign[i].size && world.foreign[i].at < at + size)
            return 0;
    if (at >= world.start && at <= world.start + world.broken_to)
        return size <= (size_t)(world.start + world.broken_to - at);
    if (at >= world.maps && offset < MAP_PAGES * (size_t)PAGE)
        return all_are(offset / PAGE, pages_of(offset % PAGE + size), 1);
#ifdef REPRODUCER_ARENA
    if (at >= arena && at <= arena + REPRODUCER_ARENA)
        return size <= (size_t)(arena + REPRODUCER_ARENA - at);
#endif
    return 0;
}
#endif

/* ---- the beginning ---- */

/* A crash for want of stack is told from a stack beside it; each thread has one. */
static void own_signal_stack(char *stack, size_t size)
{
    stack_t own = { .ss_sp = stack, .ss_size = size };
    sigaltstack(&own, NULL);
}

static void open_world(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGALRM };
    static char stack[STACK];
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
    own_signal_stack(stack, sizeof stack);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
#ifndef REPRODUCER_SANITIZED
    open_store();
#endif
    atexit(on_exit_called);
    alarm(10);
}
