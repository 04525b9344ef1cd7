/* The tripwire: cheap, allowed to be suspicious, never the judge.
 *
 * Whatever models/judge.py condemns by a rule that one operation can break sets run.suspicious. */
#ifndef ALLOCHECK_TRIPWIRE_H
#define ALLOCHECK_TRIPWIRE_H

#include "operations.h"

/* The largest address that a process may have, and one more. */
#define ADDRESS_SPACE (UINT64_C(1) << 47)

void trip_if(struct executor *ex, int suspicious);

/* Watches a block that was granted for a request of `size` bytes. */
void tripwire_grant(struct executor *ex, const struct op *op, const struct observation *seen,
                    uint64_t size);

/* Watches a request that failed. */
void tripwire_failure(struct executor *ex, const struct op *op,
                      const struct observation *seen, uint64_t size);

/* After each operation: watches what is held once nothing is live. */
void tripwire_held(struct executor *ex, const struct op *op, const struct observation *seen);

/* After each operation: settles the doubt that the one before left; may leave one. */
void tripwire_settle(struct executor *ex, const struct op *op, const struct observation *seen);

#endif
