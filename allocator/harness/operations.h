/* What one operation does: operations.c does it, executor.c repeats it. */
#ifndef ALLOCHECK_OPERATIONS_H
#define ALLOCHECK_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

#include "block_table.h"
#include "layout.h"
#include "snapshot.h"
#include "states.h"
#include "store.h"
#include "subject.h"
#include "threads.h"

/* A NULL that a malloc right behind it may prove wrong, by its success. */
enum doubt { DOUBT_NONE = 0, DOUBT_ANY_SIZE, DOUBT_THIS_SIZE };

struct executor {
    struct run *run;
    const struct config *config;
    struct op *ops;
    struct observation *observations;
    struct damage *damages;
    struct subject *subject;
    struct store store;
    struct snapshot snapshot;
    struct block_table table;
    struct states states;
    struct enumeration *enumeration; /* the one under way, or NULL */
    int plain; /* every block gets the same pattern, and is wiped before it is freed */
    struct threads threads;
    uint32_t thread; /* that operations are to run on */
    uint8_t *program; /* bytes of the program that a search makes */
    size_t program_capacity;
    int *error;                /* errno of the thread that runs the operations */
    volatile uint32_t calls;   /* that returned: what the CPU time limit is counted from */
    uint64_t largest;          /* bytes of the largest request granted in this run */
    uint64_t largest_on_empty; /* ... while nothing else was live */
    int was_refused;           /* a deny has refused pages in this run */
    enum doubt doubt;    /* what the operation before leaves open */
    uint64_t doubt_size;
    int dirty; /* the run before may have written where it should not */
};

/* Executes one operation and writes down what it showed. */
void operation_run(struct executor *ex, const struct op *op, struct observation *seen);

/* Lets a thread of the run end as the subject sees it; does not come back if that does not. */
void operation_end_thread(struct executor *ex, uint32_t number);

/* Checks the pattern of every live block. */
void operation_verify_all(struct executor *ex);

/* Frees every live block, for a subject whose memory is not restored: nothing is written down. */
void operation_free_live(struct executor *ex);

/* Notes that something is damaged; the caller fills in the details. */
struct damage *operation_note_damage(struct executor *ex, enum damage_kind kind, uint32_t name);

/* Whether ending in abort is what the contract promises of this operation. */
int operation_may_abort(const struct executor *ex, const struct op *op);

#endif
