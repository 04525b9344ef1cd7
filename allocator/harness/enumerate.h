/* Every heap that programs of some operations make of a small memory: breadth first, each heap
 * once.
 *
 * Two heaps are the same if the live blocks lie at the same places with the same sizes, the
 * subject's writable segments agree, and so do those words of the other memory that something leads
 * to: they lie beside a live block, at either end, where a pointer points that was led to itself or
 * lies in a segment, or as far from such a word as it says, if it is a size.  What nothing leads to
 * is taken for what was left behind, and what lies in a live block does not count.
 */
#ifndef ALLOCHECK_ENUMERATE_H
#define ALLOCHECK_ENUMERATE_H

#include "executor.h"

/* An operation to be tried on each heap; a free or a resize is tried on each live block. */
struct choice {
    uint64_t kind;
    uint64_t first;
    uint64_t second;
};

struct enumeration_tally {
    uint64_t heaps;      /* different ones met so far */
    uint64_t waiting;    /* those of which not every operation has been tried */
    uint64_t operations; /* tried so far, each behind the program that leads to its heap */
    uint64_t too_large;  /* more memory was granted than is compared: nothing is known */
    uint64_t longest;    /* operations of the longest program */
};

/* Starts anew; `choices` are copied.  The run's store_size and switches are those of each program.
 * Where `most_live` blocks live no other is asked for.  0 on success. */
int enumeration_start(struct executor *executor, const struct choice *choices, size_t count,
                      size_t most_live);

/* Tries `count` operations or fewer: until a run is suspicious, which the region then holds, all
 * heaps are done, or there are `most` heaps. */
void enumeration_go_on(struct executor *executor, uint64_t count, uint64_t most,
                       struct enumeration_tally *tally);

/* Both, as a command: `area` holds the choices of a new enumeration, the first of them
 * {0, most_live, 0}, none to go on with the one under way, and gets the tally; 0 if there is no
 * memory. */
int executor_enumerate(struct executor *executor, void *area, size_t choices, uint64_t count,
                       uint64_t most);

void enumeration_close(struct executor *executor);

#endif
