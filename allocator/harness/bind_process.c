/* Compiled into every subject's library, beside bind.c: the process as the subject is to see it.
 *
 * Ending it ends the run; its signals stay the guard's; there is no second process, and no timer.
 * All names are hidden and weak, to give way to the subject's own. */
#define _GNU_SOURCE
#include "bind.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

long allocheck_system_call(long number, const long *operands)
{
    register long fourth __asm__("r10") = operands[3];
    register long fifth __asm__("r8") = operands[4];
    register long sixth __asm__("r9") = operands[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(operands[0]), "S"(operands[1]), "d"(operands[2]),
                       "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

/* ---- ending ---- */

static _Noreturn void leave(int status)
{
    const struct host *host = allocheck_host();
    if (host)
        host->exit(host->context, status);
    for (;;)
        allocheck_system_call(SYS_exit_group, (long[6]){ status });
}

WEAK void exit(int status) { leave(status); }
WEAK void _exit(int status) { leave(status); }
WEAK void _Exit(int status) { leave(status); }
WEAK void quick_exit(int status) { leave(status); }

WEAK void abort(void)
{
    const struct host *host = allocheck_host();
    if (host)
        host->abort(host->context);
    __builtin_trap();
}

/* Where assert() ends: its words go to the verdict, not to a file that the harness has closed. */
WEAK void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
{
    (void)function;
    const struct host *host = allocheck_host();
    if (host)
        host->assertion(host->context, text, file, line);
    abort();
}

/* What is to be done at the end is never done: there is one process for many runs. */
WEAK int __cxa_atexit(void (*function)(void *), void *argument, void *library)
{
    (void)function, (void)argument, (void)library;
    return 0;
}

/* What is to be done when a thread ends; the first one never does. */
enum { ENDINGS = 32 };
static __thread struct {
    void (*function)(void *);
    void *argument;
} endings[ENDINGS];
static __thread int ending_count;

static int at_thread_end(void (*function)(void *), void *argument)
{
    if (ending_count == ENDINGS)
        return -1;
    endings[ending_count].function = function;
    endings[ending_count++].argument = argument;
    return 0;
}

WEAK int __cxa_thread_atexit(void (*function)(void *), void *argument, void *library)
{
    (void)library;
    return at_thread_end(function, argument);
}

WEAK int __cxa_thread_atexit_impl(void (*function)(void *), void *argument, void *library)
{
    (void)library;
    return at_thread_end(function, argument);
}

WEAK int atexit(void (*function)(void))
{
    (void)function;
    return 0;
}

WEAK int pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    (void)prepare, (void)parent, (void)child;
    return 0;
}

WEAK int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                           void *dso)
{
    (void)prepare, (void)parent, (void)child, (void)dso;
    return 0;
}

/* ---- other processes and timers ---- */

static int refuse(int error)
{
    errno = error;
    return -1;
}

/* The run ends here: two copies of it would both go on. */
static long forbid(long call)
{
    const struct host *host = allocheck_host();
    if (host)
        host->forbidden(host->context, call);
    return refuse(EAGAIN);
}

WEAK pid_t fork(void) { return (pid_t)forbid(SYS_fork); }
WEAK pid_t vfork(void) { return (pid_t)forbid(SYS_vfork); }
WEAK unsigned alarm(unsigned seconds) { return seconds * 0; }

WEAK int setitimer(__itimer_which_t which, const struct itimerval *value, struct itimerval *old)
{
    (void)which, (void)value, (void)old;
    return refuse(EINVAL);
}

/* ---- signals ---- */

WEAK int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    const struct host *host = allocheck_host();
    return host ? host->sigaction(host->context, number, action, old) : refuse(EINVAL);
}

WEAK sighandler_t signal(int number, sighandler_t function)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = function;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, &old) ? SIG_ERR : old.sa_handler;
}

WEAK int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    const struct host *host = allocheck_host();
    return host ? host->signal_mask(host->context, how, set, old) : EINVAL;
}

WEAK int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    int error = pthread_sigmask(how, set, old);
    return error ? refuse(error) : 0;
}

/* The guard's is the stack on which the overflow of another one is survived. */
WEAK int sigaltstack(const stack_t *stack, stack_t *old)
{
    (void)stack;
    if (old)
        *old = (stack_t){ .ss_flags = SS_DISABLE };
    return 0;
}

/* ---- values of a thread, in the subject's own data: so they are restored with it ----
 *
 * Without several threads __thread means nothing (build.py), and there is one value a key. */

enum { KEYS = 128, DESTRUCTOR_ROUNDS = 4 };
static struct {
    int in_use;
    void (*destructor)(void *);
} keys[KEYS];
static __thread const void *values[KEYS];

WEAK int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    for (pthread_key_t i = 0; i < KEYS; i++)
        if (!__atomic_exchange_n(&keys[i].in_use, 1, __ATOMIC_ACQ_REL)) {
            keys[i].destructor = destructor;
            values[i] = NULL;
            *key = i;
            return 0;
        }
    return EAGAIN;
}

WEAK int pthread_key_delete(pthread_key_t key)
{
    if (key >= KEYS || !keys[key].in_use)
        return EINVAL;
    __atomic_store_n(&keys[key].in_use, 0, __ATOMIC_RELEASE);
    return 0;
}

WEAK void *pthread_getspecific(pthread_key_t key)
{
    return key < KEYS ? (void *)values[key] : NULL;
}

WEAK int pthread_setspecific(pthread_key_t key, const void *value)
{
    if (key >= KEYS || !keys[key].in_use)
        return EINVAL;
    values[key] = value;
    return 0;
}

static int destroy_values(void)
{
    int any = 0;
    for (pthread_key_t i = 0; i < KEYS; i++) {
        void *value = (void *)values[i];
        if (!value || !keys[i].in_use || !keys[i].destructor)
            continue;
        values[i] = NULL;
        keys[i].destructor(value);
        any = 1;
    }
    return any;
}

/* In the order of POSIX: what was registered last first, then the keys, again where a destructor
 * has set one. */
void allocheck_thread_ends(void)
{
    while (ending_count) {
        ending_count--;
        endings[ending_count].function(endings[ending_count].argument);
    }
    for (int round = 0; round < DESTRUCTOR_ROUNDS && destroy_values(); round++)
        ;
}

/* ---- system calls by number ---- */

WEAK long syscall(long number, ...)
{
    long operands[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        operands[i] = va_arg(rest, long);
    va_end(rest);
    switch (number) {
    case SYS_exit:
    case SYS_exit_group: leave((int)operands[0]);
    case SYS_fork:
    case SYS_vfork:
    case SYS_clone: return forbid(number);
    default: break;
    }
    const struct host *host = allocheck_host();
    long result;
    if (!host || !host->call(host, number, operands, &result))
        result = allocheck_system_call(number, operands);
    return result < 0 && result > -4096 ? refuse((int)-result) : result;
}
