/* A semaphore for each direction.  A thread is made when it is first named and not kept for the next
 * run: so its thread-local variables are fresh each time. */
#include "threads.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { STACK = 1 << 20 };

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore)) /* the guard's clock interrupts it */
        ;
}

static void *live(void *argument)
{
    struct thread *thread = argument;
    guard_use_signal_stack(thread->signal_stack);
    for (;;) {
        wait_for(&thread->turn);
        if (!thread->function)
            return NULL;
        thread->departure = guard_part(thread->function, thread->argument);
        sem_post(&thread->done);
    }
}

static void start(struct thread *thread)
{
    pthread_attr_t attributes;
    if (!thread->signal_stack)
        thread->signal_stack = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sem_init(&thread->turn, 0, 0);
    sem_init(&thread->done, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    if (thread->signal_stack == MAP_FAILED
        || pthread_create(&thread->id, &attributes, live, thread))
        abort();
    pthread_attr_destroy(&attributes);
    thread->alive = 1;
}

int threads_alive(const struct threads *threads, uint64_t number)
{
    return number < THREADS && threads->all[number].alive;
}

struct departure threads_call(struct threads *threads, uint32_t number, void (*function)(void *),
                              void *argument)
{
    struct thread *thread = &threads->all[number];
    if (!thread->alive)
        start(thread);
    thread->function = function;
    thread->argument = argument;
    sem_post(&thread->turn);
    wait_for(&thread->done);
    return thread->departure;
}

static void forget(struct thread *thread)
{
    thread->function = NULL;
    sem_post(&thread->turn);
    pthread_join(thread->id, NULL);
    thread->alive = 0;
}

static void say(void *farewell)
{
    (*(void (**)(void))farewell)();
}

struct departure threads_end(struct threads *threads, uint32_t number, void (*farewell)(void))
{
    struct departure departure = { .outcome = OUTCOME_FINISHED };
    if (farewell)
        departure = threads_call(threads, number, say, &farewell);
    forget(&threads->all[number]);
    return departure;
}

void threads_forget(struct threads *threads)
{
    for (int number = 1; number < THREADS; number++)
        if (threads->all[number].alive)
            forget(&threads->all[number]);
}

void threads_close(struct threads *threads)
{
    threads_forget(threads);
    for (int number = 1; number < THREADS; number++)
        if (threads->all[number].signal_stack)
            munmap(threads->all[number].signal_stack, SIGNAL_STACK);
}
