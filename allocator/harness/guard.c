/* One jump buffer, handlers on a stack of their own, and a CPU clock that ticks only while runs
 * follow each other closely: a guarded call that returns costs no system call. */
#define _GNU_SOURCE
#include "guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

enum { TICK_MS = 10, IDLE_TICKS = 20, SIGNAL_STACK = 1 << 16 };

static const int CAUGHT[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF };
enum { CAUGHT_COUNT = sizeof CAUGHT / sizeof CAUGHT[0] };

static struct {
    sigjmp_buf jump;
    volatile sig_atomic_t armed;
    volatile sig_atomic_t ticking;
    const volatile uint32_t *progress;
    uint32_t last_progress;
    volatile uint64_t ticks;      /* since *progress was last seen to change */
    volatile uint64_t idle_ticks; /* since a guarded call was last seen */
    uint64_t limit_ticks;
    struct departure departure;
    struct sigaction previous[CAUGHT_COUNT];
    void *signal_stack;
} guard;

static void set_clock(int milliseconds)
{
    struct itimerval interval = { { 0, milliseconds * 1000 }, { 0, milliseconds * 1000 } };
    setitimer(ITIMER_PROF, &interval, NULL);
    guard.ticking = milliseconds != 0;
}

static _Noreturn void leave(uint32_t outcome)
{
    guard.departure.outcome = outcome;
    guard.armed = 0;
    siglongjmp(guard.jump, 1);
}

static void on_tick(void)
{
    if (!guard.armed) {
        if (++guard.idle_ticks > IDLE_TICKS)
            set_clock(0);
        return;
    }
    guard.idle_ticks = 0;
    if (guard.last_progress != *guard.progress) {
        guard.last_progress = *guard.progress;
        guard.ticks = 0;
    }
    if (++guard.ticks > guard.limit_ticks)
        leave(OUTCOME_HANG);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (number == SIGPROF) {
        on_tick();
        return;
    }
    if (guard.armed) {
        guard.departure.signal = number;
        guard.departure.fault = number == SIGSEGV || number == SIGBUS ? (uint64_t)info->si_addr : 0;
        leave(number == SIGABRT ? OUTCOME_ABORT : OUTCOME_SIGNAL);
    }
    /* Not the subject's: give the signal back to whom it belonged and let it happen again. */
    for (int i = 0; i < CAUGHT_COUNT; i++)
        if (CAUGHT[i] == number)
            sigaction(number, &guard.previous[i], NULL);
    if (info->si_code <= 0)
        raise(number);
}

static void use_signal_stack(void)
{
    stack_t stack;
    if (!guard.signal_stack) {
        guard.signal_stack = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (guard.signal_stack == MAP_FAILED)
            abort();
    }
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = guard.signal_stack;
    stack.ss_size = SIGNAL_STACK;
    sigaltstack(&stack, NULL);
}

void guard_install(void)
{
    use_signal_stack();
    /* SA_NODEFER and an empty mask: leaving a handler by a jump leaves no signal blocked. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < CAUGHT_COUNT; i++) {
        struct sigaction previous;
        int restart = CAUGHT[i] == SIGPROF ? SA_RESTART : 0;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | restart;
        sigaction(CAUGHT[i], &action, &previous);
        if (!(previous.sa_flags & SA_SIGINFO) || previous.sa_sigaction != on_signal)
            guard.previous[i] = previous;
    }
}

struct departure guard_call(void (*function)(void *), void *argument, uint64_t limit_ms,
                            const volatile uint32_t *progress)
{
    memset(&guard.departure, 0, sizeof guard.departure);
    guard.progress = progress;
    guard.last_progress = *progress;
    guard.ticks = 0;
    guard.limit_ticks = limit_ms / TICK_MS + 1;
    guard.idle_ticks = 0;
    if (!guard.ticking)
        set_clock(TICK_MS);
    if (sigsetjmp(guard.jump, 0) == 0) {
        guard.armed = 1;
        function(argument);
        guard.armed = 0;
        guard.departure.outcome = OUTCOME_FINISHED;
    }
    return guard.departure;
}

void guard_exit(int status)
{
    if (!guard.armed)
        _exit(status);
    guard.departure.exit_status = status;
    leave(OUTCOME_EXIT);
}
