/* A jump buffer for each thread, handlers on a stack of their own, and a CPU clock that ticks only
 * while runs follow each other closely: a guarded call that returns costs no system call. */
#define _GNU_SOURCE
#include "guard.h"

#include "direct.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { TICK_MS = 10, IDLE_TICKS = 20, SIGNALS = 65, SAME_FAULTS = 8 };

static const int CAUGHT[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF };
enum { CAUGHT_COUNT = sizeof CAUGHT / sizeof CAUGHT[0] };

/* A guarded call under way. */
struct watch {
    sigjmp_buf jump;
    struct watch *outer;
    struct departure departure;
};

/* The innermost one of this thread; NULL: whatever happens now is not the subject's doing. */
static __thread struct watch *volatile watch __attribute__((tls_model("initial-exec")));

static struct {
    volatile sig_atomic_t ticking;
    volatile sig_atomic_t calls; /* guarded ones under way */
    volatile pthread_t runner;   /* the thread that carries them out */
    const volatile uint32_t *progress;
    uint32_t last_progress;
    volatile uint64_t ticks;      /* since *progress was last seen to change */
    volatile uint64_t idle_ticks; /* since a guarded call was last seen */
    uint64_t limit_ticks;
    const struct host *host;
    struct sigaction previous[CAUGHT_COUNT];
} guard;

/* What the subject did to the signals of the process, to be undone before its next run. */
static struct {
    uint64_t acted;      /* signals that it set a handler for, one bit each */
    struct sigaction actions[SIGNALS], before[SIGNALS];
    int masked;
    sigset_t mask;       /* as it was before */
    uint64_t fault_pc, fault_at; /* where its own handler was called last */
    uint32_t fault_call, faults;
} theirs;

static void set_clock(int milliseconds)
{
    struct itimerval interval = { { 0, milliseconds * 1000 }, { 0, milliseconds * 1000 } };
    setitimer(ITIMER_PROF, &interval, NULL);
    guard.ticking = milliseconds != 0;
}

static _Noreturn void leave(uint32_t outcome)
{
    struct watch *current = watch;
    current->departure.outcome = outcome;
    watch = current->outer;
    siglongjmp(current->jump, 1);
}

/* Process CPU time has passed; the signal may have come to any thread. */
static void on_tick(void)
{
    if (!guard.calls) {
        if (++guard.idle_ticks > IDLE_TICKS)
            set_clock(0);
        return;
    }
    guard.idle_ticks = 0;
    if (guard.last_progress != *guard.progress) {
        guard.last_progress = *guard.progress;
        guard.ticks = 0;
    }
    if (++guard.ticks <= guard.limit_ticks)
        return;
    if (!pthread_equal(pthread_self(), guard.runner))
        pthread_kill(guard.runner, SIGPROF);
    else if (watch)
        leave(OUTCOME_HANG);
}

/* A subject may catch its own faults, to bring in pages for instance.  The same fault again and
 * again in one call means that its handler does not help. */
static int theirs_answers(int number, siginfo_t *info, void *context)
{
    const struct sigaction *action = &theirs.actions[number];
    if (!(theirs.acted >> number & 1) || action->sa_handler == SIG_DFL
        || action->sa_handler == SIG_IGN)
        return 0;
    const ucontext_t *at = context;
    uint64_t pc = (uint64_t)at->uc_mcontext.gregs[REG_RIP], fault = (uint64_t)info->si_addr;
    int again = pc == theirs.fault_pc && fault == theirs.fault_at
                && theirs.fault_call == *guard.progress;
    theirs.faults = again ? theirs.faults + 1 : 0;
    if (theirs.faults > SAME_FAULTS)
        return 0;
    theirs.fault_pc = pc;
    theirs.fault_at = fault;
    theirs.fault_call = *guard.progress;
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(number, info, context);
    else
        action->sa_handler(number);
    return 1;
}

/* The address of a bad access, the number of a forbidden system call. */
static uint64_t fault_of(int number, const siginfo_t *info)
{
    if (number == SIGSYS)
        return (uint64_t)info->si_syscall;
    return number == SIGSEGV || number == SIGBUS ? (uint64_t)info->si_addr : 0;
}

/* A system call that confine_calls has stopped, and the host can carry out. */
static int is_bound(const siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    greg_t *regs = at->uc_mcontext.gregs;
    long operands[6] = { regs[REG_RDI], regs[REG_RSI], regs[REG_RDX],
                         regs[REG_R10], regs[REG_R8],  regs[REG_R9] };
    long result;
    if (!guard.host || !direct_call(guard.host, info->si_syscall, operands, &result))
        return 0;
    regs[REG_RAX] = result;
    return 1;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    if (number == SIGPROF) {
        on_tick();
        return;
    }
    if (watch) {
        if (number == SIGSYS && is_bound(info, context))
            return;
        if (theirs_answers(number, info, context))
            return;
        watch->departure.signal = number;
        watch->departure.fault = fault_of(number, info);
        leave(number == SIGABRT ? OUTCOME_ABORT : OUTCOME_SIGNAL);
    }
    /* Not the subject's: give the signal back to whom it belonged and let it happen again. */
    for (int i = 0; i < CAUGHT_COUNT; i++)
        if (CAUGHT[i] == number)
            sigaction(number, &guard.previous[i], NULL);
    if (info->si_code <= 0)
        raise(number);
}

void guard_use_signal_stack(void *room)
{
    static __thread void *own __attribute__((tls_model("initial-exec")));
    if (!room && !own)
        own = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!room)
        room = own;
    if (room == MAP_FAILED)
        abort();
    stack_t stack = { .ss_sp = room, .ss_size = SIGNAL_STACK };
    sigaltstack(&stack, NULL);
}

/* ---- children of the subject ----
 *
 * A child that the subject forks must not go on with the run, as a second harness, with children
 * of its own.  A page that the kernel empties in a child shows one however it was made. */

static volatile char *original;

void guard_leave_copy(void)
{
    if (original && !*original)
        syscall(SYS_exit_group, 0);
}

static void leave_forked(void)
{
    if (watch)
        syscall(SYS_exit_group, 0);
}

static void watch_forks(void)
{
    if (original)
        return;
    pthread_atfork(NULL, NULL, leave_forked);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || madvise(page, 4096, MADV_WIPEONFORK))
        return;
    *page = 1;
    original = page;
}

void guard_continue_in_copy(void)
{
    if (original)
        *original = 1;
    guard.ticking = 0; /* a child has no timer */
}

void guard_install(void)
{
    watch_forks();
    guard_use_signal_stack(NULL);
    /* SA_NODEFER and an empty mask: leaving a handler by a jump leaves no signal blocked. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    for (int i = 0; i < CAUGHT_COUNT; i++) {
        struct sigaction previous;
        int restart = CAUGHT[i] == SIGPROF ? SA_RESTART : 0;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | restart;
        sigaction(CAUGHT[i], &action, &previous);
        if (!(previous.sa_flags & SA_SIGINFO) || previous.sa_sigaction != on_signal)
            guard.previous[i] = previous;
    }
}

void guard_bind(const struct host *host)
{
    guard.host = host;
}

struct departure guard_call(void (*function)(void *), void *argument, uint64_t limit_ms,
                            const volatile uint32_t *progress)
{
    guard.progress = progress;
    guard.last_progress = *progress;
    guard.ticks = 0;
    guard.limit_ticks = limit_ms / TICK_MS + 1;
    guard.idle_ticks = 0;
    guard.runner = pthread_self();
    if (!guard.ticking)
        set_clock(TICK_MS);
    guard.calls++;
    struct departure departure = guard_part(function, argument);
    guard.calls--;
    return departure;
}

struct departure guard_part(void (*function)(void *), void *argument)
{
    struct watch here;
    here.outer = watch;
    memset(&here.departure, 0, sizeof here.departure);
    pthread_t runner = guard.runner;
    guard.runner = pthread_self();
    if (sigsetjmp(here.jump, 0) == 0) {
        watch = &here;
        function(argument);
        watch = here.outer;
        here.departure.outcome = OUTCOME_FINISHED;
    }
    guard.runner = runner;
    return here.departure;
}

void guard_leave_as(const struct departure *departure)
{
    watch->departure = *departure;
    leave(departure->outcome);
}

void guard_exit(int status)
{
    if (!watch)
        _exit(status);
    watch->departure.exit_status = status;
    leave(OUTCOME_EXIT);
}

void guard_abort(void)
{
    if (!watch)
        abort();
    watch->departure.signal = SIGABRT;
    leave(OUTCOME_ABORT);
}

void guard_forbidden(long call)
{
    if (!watch)
        return;
    watch->departure.signal = SIGSYS;
    watch->departure.fault = (uint64_t)call;
    leave(OUTCOME_SIGNAL);
}

/* ---- what the subject does to signals ---- */

static int is_caught(int number)
{
    for (int i = 0; i < CAUGHT_COUNT; i++)
        if (CAUGHT[i] == number)
            return 1;
    return 0;
}

int guard_subject_action(int number, const struct sigaction *action, struct sigaction *old)
{
    if (number <= 0 || number >= SIGNALS || number == SIGKILL || number == SIGSTOP) {
        errno = EINVAL;
        return -1;
    }
    uint64_t bit = UINT64_C(1) << (number & 63);
    struct sigaction before = { 0 };
    if (theirs.acted & bit)
        before = theirs.actions[number];
    else if (!is_caught(number) && sigaction(number, NULL, &before))
        return -1;
    if (action) {
        if (!is_caught(number) && sigaction(number, action, NULL))
            return -1;
        if (!(theirs.acted & bit))
            theirs.before[number] = before;
        theirs.actions[number] = *action;
        theirs.acted |= bit;
    }
    if (old)
        *old = before;
    return 0;
}

int guard_subject_mask(int how, const sigset_t *set, sigset_t *old)
{
    if (!set)
        return pthread_sigmask(how, NULL, old);
    sigset_t allowed = *set, before;
    for (int i = 0; i < CAUGHT_COUNT; i++)
        sigdelset(&allowed, CAUGHT[i]);
    int error = pthread_sigmask(how, &allowed, &before);
    if (!error && !theirs.masked) {
        theirs.masked = 1;
        theirs.mask = before;
    }
    if (old)
        *old = before;
    return error;
}

void guard_forget_subject(void)
{
    for (int number = 1; theirs.acted && number < SIGNALS; number++)
        if (theirs.acted >> (number & 63) & 1 && !is_caught(number))
            sigaction(number, &theirs.before[number], NULL);
    if (theirs.masked)
        pthread_sigmask(SIG_SETMASK, &theirs.mask, NULL);
    theirs.acted = 0;
    theirs.masked = 0;
    theirs.faults = 0;
}
