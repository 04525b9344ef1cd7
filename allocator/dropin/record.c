/* record.c: writes down every call of a program to malloc, free, ...; for allocator/record.py.
 *
 * It serves no request itself: each goes to the C library's own allocator, under one lock, so
 * that the records stand in the order in which blocks were handed out and came back.  They go to
 * a file that ALLOCHECK_RECORD names, mapped and shared: what was recorded is there however the
 * process ends.  When the file is full the program goes on and the rest is counted.
 *
 * One process is recorded, the one that comes first; a program that replaces itself (exec) starts
 * anew.  Children are not followed.  Calls made before the environment is known, by the dynamic
 * linker, are not seen.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lock.h"

#define EXPORT __attribute__((visibility("default")))

/* The numbers are those of models/trace.py's Kind, the operands too, with addresses as blocks. */
enum kind {
    KIND_MALLOC = 1,
    KIND_CALLOC = 2,
    KIND_REALLOC = 3,
    KIND_ALIGNED_ALLOC = 4,
    KIND_MEMALIGN = 5,
    KIND_POSIX_MEMALIGN = 6,
    KIND_FREE = 7,
};

enum { PAGE = 4096 };

/* allocator/record.py mirrors both. */
struct record {
    uint32_t kind;
    uint32_t thread; /* from 0, in the order of their first calls */
    uint64_t first;
    uint64_t second;
    uint64_t result;
};

struct recording {
    uint64_t count;   /* of the records that follow */
    uint64_t dropped; /* calls that found the file full */
    _Atomic uint32_t process;
    uint32_t reserved[11];
    struct record records[];
};

_Static_assert(sizeof(struct record) == 32, "as allocator/record.py reads it");
_Static_assert(offsetof(struct recording, records) == 64, "as allocator/record.py reads it");

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *payload, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *payload);

/* All guarded by the lock. */
static bool tried;
static struct recording *recording;
static size_t capacity;
static uint32_t threads;

static __thread uint32_t thread __attribute__((tls_model("initial-exec"))); /* 0: none yet */

static struct recording *map_file(const char *path)
{
    struct stat status;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return NULL;
    void *start = MAP_FAILED;
    if (!fstat(file, &status) && (size_t)status.st_size > sizeof(struct recording)) {
        capacity = ((size_t)status.st_size - sizeof(struct recording)) / sizeof(struct record);
        start = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    close(file);
    return start == MAP_FAILED ? NULL : start;
}

/* Whoever comes first has the file; the same process may come again by exec. */
static struct recording *claim(struct recording *found)
{
    uint32_t self = (uint32_t)getpid(), holder = 0;
    if (!atomic_compare_exchange_strong(&found->process, &holder, self) && holder != self)
        return NULL;
    found->count = found->dropped = 0;
    return found;
}

/* The child's heap is a copy of its own from here on: not what the file tells of. */
static void forget_in_child(void)
{
    recording = NULL;
    lock_in_child();
}

static void begin(void)
{
    int error = errno;
    const char *path = getenv("ALLOCHECK_RECORD");
    struct recording *found = path ? map_file(path) : NULL;
    recording = found ? claim(found) : NULL;
    errno = error;
}

static bool enter(void)
{
    bool taken = lock_take();
    if (!tried && environ) {
        tried = true;
        begin();
        lock_give(taken);
        pthread_atfork(lock_before_fork, lock_after_fork, forget_in_child);
        taken = lock_take();
    }
    return taken;
}

static void append(enum kind kind, uint64_t first, uint64_t second, const void *result)
{
    if (!recording)
        return;
    if (recording->count == capacity) {
        recording->dropped++;
        return;
    }
    if (!thread)
        thread = ++threads;
    recording->records[recording->count] = (struct record){
        (uint32_t)kind, thread - 1, first, second, (uintptr_t)result
    };
    atomic_thread_fence(memory_order_release);
    recording->count++;
}

EXPORT void *malloc(size_t size)
{
    bool taken = enter();
    void *payload = __libc_malloc(size);
    append(KIND_MALLOC, size, 0, payload);
    lock_give(taken);
    return payload;
}

EXPORT void *calloc(size_t count, size_t size)
{
    bool taken = enter();
    void *payload = __libc_calloc(count, size);
    append(KIND_CALLOC, count, size, payload);
    lock_give(taken);
    return payload;
}

EXPORT void *realloc(void *payload, size_t size)
{
    bool taken = enter();
    uint64_t old = (uintptr_t)payload;
    void *moved = __libc_realloc(payload, size);
    append(KIND_REALLOC, old, size, moved);
    lock_give(taken);
    return moved;
}

EXPORT void *reallocarray(void *payload, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(payload, bytes);
}

EXPORT void free(void *payload)
{
    bool taken = enter();
    append(KIND_FREE, (uintptr_t)payload, 0, NULL);
    __libc_free(payload);
    lock_give(taken);
}

static void *aligned(enum kind kind, size_t alignment, size_t size)
{
    bool taken = enter();
    void *payload = __libc_memalign(alignment, size);
    append(kind, alignment, size, payload);
    lock_give(taken);
    return payload;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return aligned(KIND_ALIGNED_ALLOC, alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return aligned(KIND_MEMALIGN, alignment, size);
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
    bool is_power = alignment && !(alignment & (alignment - 1));
    if (!is_power || alignment % sizeof(void *))
        return EINVAL;
    int before = errno;
    void *payload = aligned(KIND_POSIX_MEMALIGN, alignment, size);
    errno = before;
    if (!payload)
        return ENOMEM;
    *result = payload;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return aligned(KIND_MEMALIGN, PAGE, size);
}

EXPORT void *pvalloc(size_t size)
{
    if (size > SIZE_MAX - PAGE) {
        errno = ENOMEM;
        return NULL;
    }
    return aligned(KIND_MEMALIGN, PAGE, (size + PAGE - 1) & ~(size_t)(PAGE - 1));
}
