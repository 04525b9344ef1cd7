/* Survives what hostile code does in this process: signals, abort, exit, endless loops, stack
 * overflow.  Cannot survive a subject that overwrites the harness itself: that is what the sandbox
 * is for. */
#ifndef ALLOCHECK_GUARD_H
#define ALLOCHECK_GUARD_H

#include <signal.h>
#include <stdint.h>

#include "layout.h"
#include "subject.h"

struct departure {
    uint32_t outcome; /* enum outcome; OUTCOME_FINISHED when the function returned */
    int32_t signal;
    uint64_t fault;
    int32_t exit_status;
};

/* Takes over the signals and starts the clock; harmless when repeated.  Whoever installs handlers
 * of its own afterwards must call it again. */
void guard_install(void);

/* Calls function(argument) and comes back whatever it does.  `limit_ms` of CPU time may pass
 * without *progress changing. */
struct departure guard_call(void (*function)(void *), void *argument, uint64_t limit_ms,
                            const volatile uint32_t *progress);

/* The same without a clock of its own, for a thread that does a part of a guarded call: it must
 * have called guard_use_signal_stack before, with SIGNAL_STACK bytes of room that outlive it; NULL
 * for some that are its own for ever. */
struct departure guard_part(void (*function)(void *), void *argument);
void guard_use_signal_stack(void *room);
enum { SIGNAL_STACK = 1 << 16 };

/* Leaves the guarded call of this thread as another thread has left its part of it. */
_Noreturn void guard_leave_as(const struct departure *departure);

/* Who carries out the system calls of the subject that confine_calls stops. */
void guard_bind(const struct host *host);

/* What the subject's exit and _exit, and its abort, are bound to: they leave the guarded call. */
_Noreturn void guard_exit(int status);
_Noreturn void guard_abort(void);

/* ... and its fork: the same as the SIGSYS that confine_calls has for that system call. */
void guard_forbidden(long call);

/* Ends the process if it is one that the subject has forked, by whatever means. */
void guard_leave_copy(void);

/* ... but not this one: the harness has made it. */
void guard_continue_in_copy(void);

/* What its sigaction and sigprocmask are bound to: they never take the guard's own signals away,
 * but a handler that the subject has for one of them is called first.  guard_forget_subject undoes
 * all of it. */
int guard_subject_action(int number, const struct sigaction *action, struct sigaction *old);
int guard_subject_mask(int how, const sigset_t *set, sigset_t *old);
void guard_forget_subject(void);

#endif
