/* Threads that run freely: each does the operations that a trace gives it, and none waits for a
 * turn.  It judges nothing, and knows neither the guard nor the store: whoever starts it says how.
 */
#ifndef ALLOCHECK_RACE_H
#define ALLOCHECK_RACE_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "subject.h"

struct field;

struct race {
    struct run *run;
    const struct config *config;
    const struct op *ops;
    struct observation *observations;
    struct damage *damages;
    const struct subject *subject;
    volatile uint32_t *calls; /* bumped now and then, as a sign of life */
    void *context;            /* of the functions below, each of which may be NULL */
    int (*inside)(void *context, uint64_t address, uint64_t size); /* granted memory? */
    void (*deny)(void *context, uint64_t count);
    int (*foreign)(void *context, uint64_t size);
    /* How a thread does its part, if not by a plain call; `at` is the operation under way. */
    void (*live)(void *context, void (*part)(void *), void *argument, const uint32_t *at);
    void (*stuck)(void *context);     /* all threads wait, and for each other: does not return */
    void (*quiet)(struct race *race); /* after a round: nobody but the caller runs */
    int disturbed;                    /* signals stop threads wherever they are */
    struct field *field;              /* race.c's own */
};

/* Runs the trace race_rounds times, or until something is suspicious; the observations are those of
 * the last round.  Their `granted` holds stamps of one clock: in the upper half when a block was
 * about to be released, in the lower half when one had been granted; 0: it was not. */
void race_run(struct race *race);

/* Notes damage; the caller fills in the details. */
struct damage *race_note(struct race *race, enum damage_kind kind, uint32_t op, uint32_t name);

/* The names of a trace are below this. */
uint32_t race_names(const struct race *race);

#endif
