/* The threads of a run, in which one at a time does something: they are handed parts of it.  Who
 * runs freely is race.c's. */
#ifndef ALLOCHECK_THREADS_H
#define ALLOCHECK_THREADS_H

#include <pthread.h>
#include <semaphore.h>

#include "guard.h"
#include "layout.h"

struct thread {
    pthread_t id;
    int alive;
    sem_t turn, done;
    void (*function)(void *); /* what it is to do; NULL: to end */
    void *argument;
    struct departure departure;
    void *signal_stack;
};

/* By number; nobody stands at 0, which is the thread that hands out the turns. */
struct threads {
    struct thread all[THREADS];
};

/* Whether this is the number of a thread that was started and has not ended. */
int threads_alive(const struct threads *threads, uint64_t number);

/* Calls function(argument) under the guard on a thread, which is started where there is none, and
 * comes back when it has ended, or departed. */
struct departure threads_call(struct threads *threads, uint32_t number, void (*function)(void *),
                              void *argument);

/* Lets it do its `farewell` (NULL: none), and end. */
struct departure threads_end(struct threads *threads, uint32_t number, void (*farewell)(void));

/* Ends all of them without one. */
void threads_forget(struct threads *threads);

/* The same, and gives back what they needed. */
void threads_close(struct threads *threads);

#endif
