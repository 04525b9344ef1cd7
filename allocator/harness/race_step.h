/* What one operation of a free-running thread does: race_step.c does it, race.c repeats it. */
#ifndef ALLOCHECK_RACE_STEP_H
#define ALLOCHECK_RACE_STEP_H

#include <pthread.h>
#include <stdatomic.h>

#include "race.h"

enum { RACE_SPINS = 200 };
#define RELAXED memory_order_relaxed

/* EMPTY until its operation is done; TAKEN while a thread uses it; GONE: failed, skipped, freed. */
enum place_state { EMPTY, LIVE, TAKEN, GONE };

struct place {
    _Atomic uint32_t state;
    uint32_t generation;
    uint64_t address, size, filled, seed;
};

struct runner {
    struct field *field;
    uint32_t number, count;
    uint32_t *mine; /* its operations, by index */
    uint32_t next;  /* of them */
    uint32_t at;    /* the one under way */
    uint64_t random;
    _Atomic int task; /* the kernel's number of the thread; 0: it has done its part */
};

struct field {
    struct race *race;
    struct place *places;
    uint32_t names;
    struct runner runners[THREADS];
    int count;
    _Atomic uint32_t clock;
    _Atomic int ready, stop;
    pthread_mutex_t noting;
    uint64_t round;
};

/* The next number of a series. */
uint64_t race_draw(uint64_t *state);

/* Executes one operation, when the block that it takes is there, and writes down what it showed. */
void race_step(struct runner *me, const struct op *op, struct observation *seen);

/* Checks the pattern of a block; 0 if it is damaged. */
int race_verify(struct runner *me, uint32_t name, const struct place *place,
                enum damage_kind kind);

#endif
