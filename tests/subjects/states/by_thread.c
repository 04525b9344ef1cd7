/* Keeps its state in thread-local variables, and a key. */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

static __thread char *next, *end;
static __thread size_t calls = 1;
static pthread_key_t key;
static int has_key;

void *local_malloc(size_t size)
{
    if (!has_key)
        has_key = !pthread_key_create(&key, NULL);
    size_t before = (size_t)pthread_getspecific(key);
    pthread_setspecific(key, (void *)(before + 1));
    if (size > 100000 || ++calls % 13 == 0 || before % 17 == 16)
        return NULL;
    size_t room = (size + calls % 5 * 16 + 15) & ~(size_t)15;
    if ((size_t)(end - next) < room) {
        next = sbrk((intptr_t)(room + 4096));
        if (next == (char *)-1)
            return next = end = NULL;
        end = next + room + 4096;
    }
    char *block = next;
    next += room;
    return block;
}

void local_free(void *block)
{
    (void)block;
}
