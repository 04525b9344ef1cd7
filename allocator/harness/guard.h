/* Survives what hostile code does in this process: signals, abort, exit, endless loops, stack
 * overflow.  Cannot survive a subject that overwrites the harness itself: that is what the sandbox
 * is for. */
#ifndef ALLOCHECK_GUARD_H
#define ALLOCHECK_GUARD_H

#include <stdint.h>

#include "layout.h"

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

/* What the subject's exit and _exit are bound to: leaves the guarded call. */
_Noreturn void guard_exit(int status);

#endif
