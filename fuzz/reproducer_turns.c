/* ---- turns: several threads, of which one at a time does something ---- */

/* Stands behind reproducer.c, a main behind it: it is no program by itself. */
#include <semaphore.h>

enum { THREADS = 16 };

/* The first thread, which hands out the turns, is number 0. */
static struct turn {
    pthread_t id;
    int alive;
    sem_t go, done;
    void (*work)(void); /* NULL: end */
    char stack[STACK];
} turns[THREADS];

static void await(sem_t *sign)
{
    while (sem_wait(sign))
        ;
}

static void *serve(void *argument)
{
    struct turn *mine = argument;
    own_signal_stack(mine->stack, sizeof mine->stack);
    for (await(&mine->go); mine->work; await(&mine->go)) {
        mine->work();
        sem_post(&mine->done);
    }
    return NULL;
}

/* Does the work on the thread with this number, which begins where there is none. */
static void on_thread(int number, void (*work)(void))
{
    struct turn *its = &turns[number];
    if (!number) {
        work();
        return;
    }
    if (!its->alive) {
        sem_init(&its->go, 0, 0);
        sem_init(&its->done, 0, 0);
        its->alive = 1;
        if (pthread_create(&its->id, NULL, serve, its))
            _exit(3);
    }
    its->work = work;
    sem_post(&its->go);
    await(&its->done);
}

/* It ends as threads do: the subject's destructors of its keys run. */
static void end_thread(int number)
{
    turns[number].work = NULL;
    sem_post(&turns[number].go);
    pthread_join(turns[number].id, NULL);
    turns[number].alive = 0;
}

/* A block outlives the thread that asked for it. */
static void end_all_threads(void)
{
    for (int number = 1; number < THREADS; number++)
        if (turns[number].alive)
            end_thread(number);
}
