/* What a subject's library shows the executor: one table of functions, one of them `bind`.
 *
 * allocator/adapter.py writes the C file that fills the table from a subject's description; a
 * function that the subject has not is NULL.
 */
#ifndef ALLOCHECK_SUBJECT_H
#define ALLOCHECK_SUBJECT_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SUBJECT_VERSION = 3 };

/* The operating system as the subject sees it: the names it calls are bound to these. */
struct host {
    void *context;
    void *(*sbrk)(void *context, intptr_t increment);
    int (*brk)(void *context, void *end);
    void *(*mmap)(void *context, void *address, size_t size, int protection, int flags, int file,
                  off_t offset);
    int (*munmap)(void *context, void *address, size_t size);
    void *(*mremap)(void *context, void *address, size_t old_size, size_t new_size, int flags,
                    void *new_address);
    int (*madvise)(void *context, void *address, size_t size, int advice);
    int (*mprotect)(void *context, void *address, size_t size, int protection);
    /* The same by number: 1 if that is one of them, *result as the kernel would answer. */
    int (*call)(const struct host *host, long number, const long *operands, long *result);
    void (*exit)(void *context, int status);
    void (*abort)(void *context);
    /* Told before the abort: what an assert() that fails has to say. */
    void (*assertion)(void *context, const char *text, const char *file, unsigned line);
    void (*forbidden)(void *context, long call);
    int (*sigaction)(void *context, int number, const struct sigaction *action,
                     struct sigaction *old);
    int (*signal_mask)(void *context, int how, const sigset_t *set, sigset_t *old);
};

struct heap_block {
    uint64_t address;
    uint64_t size;
    uint64_t used;
};

struct subject {
    uint32_t version;
    uint32_t reserved;
    /* Takes the host's functions and loads a prebuilt library where the subject is one; NULL, or
     * a sentence that says what went wrong. */
    const char *(*bind)(const struct host *host);
    const void *inside; /* an address in the prebuilt library that bind loaded; NULL when there is
                           none, or when the process had it already (then it is never restored) */
    void (*start)(void); /* the constructors of that library: to be called before init */
    int (*init)(void *arena, size_t arena_size); /* 0 when the heap is ready */
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void *(*aligned_alloc)(size_t alignment, size_t size);
    void *(*memalign)(size_t alignment, size_t size);
    int (*posix_memalign)(void **result, size_t alignment, size_t size);
    void (*free)(void *block);
    size_t (*usable_size)(void *block);
    const char *(*check)(void); /* NULL, or the first broken conjunct's name */
    size_t (*walk)(struct heap_block *blocks, size_t capacity);
    unsigned char *counters_start; /* coverage counters: not to be restored; NULL if none */
    unsigned char *counters_end;
    void (*noise)(uint64_t seed); /* makes the calling thread wait now and then; NULL: cannot */
    void (*thread_ends)(void); /* what the subject wants done when the calling thread ends */
};

extern struct subject allocheck_subject;

#endif
