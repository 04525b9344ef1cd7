/* manners.c: what programs expect of malloc and its kin, as one program to be run on any of them.
 *
 * It knows no allocator: it prints a line for whatever is not as C23 7.24.3, POSIX or glibc say,
 * and ends with 1 then.  Where libraries may differ it takes what preload.c's first lines say.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 2, ROUNDS = 500, KEPT = 64, FORKS = 10, UNTOUCHED = 12345, PATIENCE = 10 };

/* Optimisers know that nobody may look at how much malloc gives: hide what they would fold. */
static volatile size_t huge = SIZE_MAX;
static volatile size_t none = 0;

static int failures;
static atomic_int forking; /* the other threads go on as long as it is set */

static void expect(int holds, const char *what)
{
    if (!holds) {
        printf("not so: %s\n", what);
        failures++;
    }
}

static int refused(void *payload, int error)
{
    return !payload && errno == error;
}

static void sizes(void)
{
    char *one = malloc(none), *two = malloc(none);
    expect(one && two && one != two, "malloc(0) gives blocks of their own");
    free(one);
    free(two);
    expect(refused(malloc(huge), ENOMEM), "malloc(SIZE_MAX) is refused, ENOMEM");
    expect(refused(malloc((size_t)PTRDIFF_MAX + 1 + none), ENOMEM), "so is PTRDIFF_MAX + 1");
    expect(refused(calloc(huge / 16 + 2, 16), ENOMEM), "a calloc product that overflows, ENOMEM");
    expect(refused(reallocarray(NULL, huge / 16 + 2, 16), ENOMEM), "so does reallocarray's");
    expect(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL) is 0");
    free(NULL);
    errno = UNTOUCHED;
    free(malloc(1000));
    expect(errno == UNTOUCHED, "free keeps errno");
}

static void resizing(void)
{
    char *text = realloc(NULL, 8);
    strcpy(text, "seven..");
    text = realloc(text, 100000);
    expect(!strcmp(text, "seven.."), "realloc keeps what was there, growing");
    text = reallocarray(text, 3, 16);
    expect(!strcmp(text, "seven.."), "and shrinking");
    expect(refused(realloc(text, huge), ENOMEM), "realloc to SIZE_MAX is refused, ENOMEM");
    expect(!strcmp(text, "seven.."), "and the block is as it was");
    expect(!realloc(text, none), "realloc(p, 0) frees and gives NULL");
    unsigned char *dirty_one = malloc(700);
    memset(dirty_one, 0xff, 700);
    free(dirty_one);
    unsigned char *clear = calloc(100, 7);
    int dirty = 0;
    for (int i = 0; i < 700; i++)
        dirty |= clear[i];
    expect(!dirty, "calloc clears");
    memset(clear, 1, malloc_usable_size(clear));
    free(clear);
}

static int is_aligned(const void *payload, size_t alignment)
{
    return payload && (uintptr_t)payload % alignment == 0;
}

static void aligned(void)
{
    for (size_t alignment = 8; alignment <= 1 << 20; alignment *= 2) {
        void *result = NULL;
        char *other = aligned_alloc(alignment, 3 * alignment);
        expect(posix_memalign(&result, alignment, alignment - 1) == 0, "posix_memalign");
        expect(is_aligned(result, alignment), "posix_memalign aligns");
        expect(is_aligned(other, alignment), "aligned_alloc aligns");
        expect(malloc_usable_size(other) >= 3 * alignment, "as many bytes as asked for");
        memset(other, 7, 3 * alignment);
        other = realloc(other, 5 * alignment);
        expect(other[0] == 7 && other[3 * alignment - 1] == 7, "realloc of an aligned block");
        free(other);
        free(result);
    }
    void *page = valloc(10), *pages = pvalloc(4097), *block = memalign(256, 3);
    expect(is_aligned(page, 4096), "valloc gives whole pages");
    expect(is_aligned(pages, 4096) && malloc_usable_size(pages) >= 8192, "pvalloc rounds up");
    expect(is_aligned(block, 256), "memalign aligns");
    free(page);
    free(pages);
    free(block);
}

static void misaligned(void)
{
    int here;
    void *result = &here;
    expect(posix_memalign(&result, 0, 8) == EINVAL, "posix_memalign: alignment 0");
    expect(posix_memalign(&result, 4, 8) == EINVAL, "posix_memalign: below a pointer's size");
    expect(posix_memalign(&result, 24, 8) == EINVAL, "posix_memalign: no power of two");
    expect(posix_memalign(&result, 64, huge) == ENOMEM, "posix_memalign: SIZE_MAX");
    expect(posix_memalign(&result, ((size_t)1 << 63) + none, 1) == ENOMEM, "posix_memalign: 2^63");
    expect(result == &here, "a failed posix_memalign leaves *result");
    expect(refused(pvalloc(huge), ENOMEM), "pvalloc(SIZE_MAX) is refused, ENOMEM");
    expect(refused(valloc(huge), ENOMEM), "so is valloc");
    expect(posix_memalign(&result, 64, none) == 0 && is_aligned(result, 64), "0 bytes, aligned");
    free(result);
}

/* Each thread keeps blocks of its own bytes, and sees that nobody else writes them. */
static void *traffic(void *argument)
{
    unsigned char mark = (unsigned char)(uintptr_t)argument;
    unsigned seed = mark + 1u;
    unsigned char *kept[KEPT] = { 0 };
    size_t sizes[KEPT] = { 0 };
    uintptr_t wrong = 0;
    for (int round = 0; round < ROUNDS || forking; round++) {
        seed = seed * 1103515245u + 12345u;
        unsigned slot = seed >> 16 & (KEPT - 1);
        for (size_t i = 0; i < sizes[slot]; i++)
            wrong |= kept[slot][i] != mark;
        sizes[slot] = seed >> 8 & 1023;
        if (seed >> 28 & 1)
            free(kept[slot]), kept[slot] = malloc(sizes[slot]);
        else
            kept[slot] = realloc(kept[slot], sizes[slot] + 1);
        memset(kept[slot], mark, sizes[slot]);
    }
    for (int slot = 0; slot < KEPT; slot++)
        free(kept[slot]);
    return (void *)wrong;
}

/* Forks while the other threads allocate: each child must find a heap that it can use. */
static void threads_and_forks(void)
{
    pthread_t others[THREADS];
    forking = 1;
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&others[i], NULL, traffic, (void *)(i + 1));
    for (int i = 0; i < FORKS && !failures; i++) {
        pid_t child = fork();
        if (!child) {
            forking = 0;
            alarm(PATIENCE);
            _exit(traffic((void *)(uintptr_t)77) ? 1 : 0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        expect(status == 0, "a child's heap is usable after fork");
    }
    forking = 0;
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(others[i], &wrong);
        expect(!wrong, "threads keep out of each other's blocks");
    }
}

/* Other people's functions around a fork allocate too, whoever registered first. */
static void allocate_around_fork(void)
{
    free(malloc(100));
}

static void forks_with_functions(void)
{
    pthread_atfork(allocate_around_fork, allocate_around_fork, allocate_around_fork);
    threads_and_forks();
}

__attribute__((constructor(101))) static void early(void)
{
    char *block = malloc(24);
    expect(block != NULL, "malloc before the other constructors");
    free(block);
}

int main(void)
{
    alarm(120);
    sizes();
    resizing();
    aligned();
    misaligned();
    threads_and_forks();
    forks_with_functions();
    if (!failures)
        puts("as expected");
    return failures != 0;
}
