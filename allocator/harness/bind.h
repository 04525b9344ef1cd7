/* Between the two halves of the binding: bind.c has the memory, bind_process.c the process. */
#ifndef ALLOCHECK_BIND_H
#define ALLOCHECK_BIND_H

#include "subject.h"

#define WEAK __attribute__((visibility("hidden"), weak))

/* The host that bind() was given; NULL before. */
__attribute__((visibility("hidden"))) const struct host *allocheck_host(void);

#endif
