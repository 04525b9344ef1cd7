/* Free-running threads on the executor's subject: race.c under the guard, with the store locked. */
#ifndef ALLOCHECK_FREE_RUNNING_H
#define ALLOCHECK_FREE_RUNNING_H

#include "operations.h"

/* Runs the region's trace; this process, which must have been made for it, may end within. */
void free_running(struct executor *ex);

#endif
