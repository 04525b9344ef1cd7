/* System calls that a subject makes by number, past the names that are bound: by syscall(), or by
 * an instruction of its own, which confine_calls turns into a signal. */
#ifndef ALLOCHECK_DIRECT_H
#define ALLOCHECK_DIRECT_H

#include "subject.h"

/* The numbers that are carried out by the host, not by the kernel. */
enum { DIRECT_CALLS = 6 };
extern const int direct_numbers[DIRECT_CALLS];

/* 1 if the call is one of these: *result is what the kernel would answer, -errno for a failure. */
int direct_call(const struct host *host, long number, const long *operands, long *result);

#endif
