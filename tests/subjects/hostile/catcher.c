/* Catches every signal, so that nothing can go wrong any more; then it goes wrong. */
#include <signal.h>
#include <stddef.h>

static char memory[1 << 16];
static size_t used;
static int calls;
static int *volatile statistics;

static void go_on(int number)
{
    (void)number;
}

void *catch_malloc(size_t size)
{
    if (!calls)
        for (int number = 1; number < 65; number++)
            signal(number, go_on);
    if (++calls > 5)
        *statistics += 1;
    if (size > sizeof memory - used - 16)
        return NULL;
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void catch_free(void *block)
{
    (void)block;
}
