/* lock.h: one lock for a whole process that neither allocates nor touches errno.
 *
 * It knows nothing of what it protects; each shared object that includes it has one of its own.
 * A thread that forks holds it through fork() and may take it again meanwhile: other people's
 * fork functions allocate too.  Taken twice by one thread at any other time, as by malloc in a
 * signal's function that interrupted malloc, it ends the process with one line: the heap is in
 * the middle of a change.
 */
#ifndef DROPIN_LOCK_H
#define DROPIN_LOCK_H

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOCK_FREE, LOCK_TAKEN, LOCK_WAITED_FOR };

static struct {
    _Atomic uint32_t word;
    _Atomic uintptr_t owner; /* pthread_self() of who holds it; a fork keeps it */
    bool forking;            /* read by the owner alone */
} lock;

static long lock_futex(int operation, uint32_t value)
{
    int error = errno;
    long result = syscall(SYS_futex, &lock.word, operation | FUTEX_PRIVATE_FLAG, value, NULL);
    errno = error;
    return result;
}

static void lock_wait(void)
{
    while (atomic_exchange(&lock.word, LOCK_WAITED_FOR) != LOCK_FREE)
        lock_futex(FUTEX_WAIT, LOCK_WAITED_FOR);
}

static _Noreturn void lock_taken_twice(void)
{
    static const char told[] = "allocheck: malloc inside malloc (called by a signal's function?)\n";
    (void)!write(2, told, sizeof told - 1);
    abort();
}

/* True when it was free; false when this thread, which forks, held it already. */
static bool lock_take(void)
{
    uintptr_t self = (uintptr_t)pthread_self();
    if (atomic_load_explicit(&lock.owner, memory_order_relaxed) == self) {
        if (!lock.forking)
            lock_taken_twice();
        return false;
    }
    uint32_t expected = LOCK_FREE;
    if (!atomic_compare_exchange_strong(&lock.word, &expected, LOCK_TAKEN))
        lock_wait();
    atomic_store_explicit(&lock.owner, self, memory_order_relaxed);
    return true;
}

/* `taken` is what lock_take() said. */
static void lock_give(bool taken)
{
    if (!taken)
        return;
    atomic_store_explicit(&lock.owner, 0, memory_order_relaxed);
    if (atomic_exchange(&lock.word, LOCK_FREE) == LOCK_WAITED_FOR)
        lock_futex(FUTEX_WAKE, 1);
}

static void lock_before_fork(void)
{
    lock_take();
    lock.forking = true;
}

static void lock_after_fork(void)
{
    lock.forking = false;
    lock_give(true);
}

/* In the child the waiting threads are gone. */
static void lock_in_child(void)
{
    lock.forking = false;
    atomic_store(&lock.owner, 0);
    atomic_store(&lock.word, LOCK_FREE);
}

#endif
