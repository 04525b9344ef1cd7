/* steady: a malloc to be preloaded.  Powers of two, a list of free blocks for each; what is freed
 * is kept for the next request of its size, and never goes back to the system.
 *
 *   cc -shared -fPIC -O2 -g -fno-builtin -o libsteady.so steady.c
 *   LD_PRELOAD=./libsteady.so ls -l
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 16, CLASSES = 59, CHUNK = 1 << 20 };

/* Stands before each payload: the class of the block, and how far the block starts below. */
struct header {
    uint32_t class;
    uint32_t unused;
    uint64_t back;
};

struct cell {
    struct cell *next;
};

/* The first chunk is part of the library: there is memory before anything else works. */
static _Alignas(ALIGN) char first_chunk[CHUNK];
static char *room = first_chunk, *room_end = first_chunk + CHUNK;
static struct cell *free_cells[CLASSES];
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        ;
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static size_t bytes_of(uint32_t class)
{
    return (size_t)32 << class;
}

static char *fresh(size_t bytes)
{
    if ((size_t)(room_end - room) < bytes) {
        size_t chunk = bytes > CHUNK ? bytes : CHUNK;
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;
        char *mapped = mmap(NULL, chunk, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (mapped == MAP_FAILED)
            return NULL;
        room = mapped;
        room_end = mapped + chunk;
    }
    char *block = room;
    room += bytes;
    return block;
}

static char *take(uint32_t class)
{
    lock();
    struct cell *cell = free_cells[class];
    if (cell)
        free_cells[class] = cell->next;
    char *block = cell ? (char *)cell : fresh(bytes_of(class));
    unlock();
    return block;
}

static struct header *header_of(void *payload)
{
    return (struct header *)payload - 1;
}

static void *allocate(size_t alignment, size_t size)
{
    size_t slack = alignment > ALIGN ? alignment : 0;
    if (size > PTRDIFF_MAX - sizeof(struct header) - slack) {
        errno = ENOMEM;
        return NULL;
    }
    size_t need = size + sizeof(struct header) + slack;
    uint32_t class = 0;
    while (bytes_of(class) < need)
        class++;
    char *block = take(class);
    if (!block) {
        errno = ENOMEM;
        return NULL;
    }
    uintptr_t payload = (uintptr_t)block + sizeof(struct header);
    if (slack)
        payload = (payload + alignment - 1) & ~(uintptr_t)(alignment - 1);
    *header_of((void *)payload) =
        (struct header){.class = class, .back = payload - (uintptr_t)block};
    return (void *)payload;
}

void *malloc(size_t size)
{
    return allocate(ALIGN, size);
}

void free(void *payload)
{
    if (!payload)
        return;
    struct header header = *header_of(payload);
    struct cell *cell = (struct cell *)((char *)payload - header.back);
    lock();
    cell->next = free_cells[header.class];
    free_cells[header.class] = cell;
    unlock();
}

size_t malloc_usable_size(void *payload)
{
    return payload ? bytes_of(header_of(payload)->class) - header_of(payload)->back : 0;
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *payload = malloc(bytes);
    return payload ? memset(payload, 0, bytes) : NULL;
}

void *realloc(void *payload, size_t size)
{
    if (!payload)
        return malloc(size);
    size_t usable = malloc_usable_size(payload);
    if (size && size <= usable)
        return payload;
    void *moved = malloc(size);
    if (moved) {
        memcpy(moved, payload, usable < size ? usable : size);
        free(payload);
    }
    return moved;
}

static int is_alignment(size_t alignment)
{
    return alignment && !(alignment & (alignment - 1)) && alignment <= PTRDIFF_MAX / 2;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (is_alignment(alignment))
        return allocate(alignment, size);
    errno = EINVAL;
    return NULL;
}

void *memalign(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (!is_alignment(alignment) || alignment % sizeof(void *))
        return EINVAL;
    int saved = errno;
    void *payload = allocate(alignment, size);
    errno = saved;
    if (!payload)
        return ENOMEM;
    *result = payload;
    return 0;
}
