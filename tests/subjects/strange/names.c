/* Functions under a second name, in tables, with arguments without end; and one that prints. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static char pool[4096];
static size_t used;

static void *take(size_t size)
{
    void *block = pool + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

static void *refuse(size_t size)
{
    fprintf(stderr, "no room for %zu bytes\n", size);
    return NULL;
}

static void *(*const answers[])(size_t) = { refuse, take };

static void log_call(const char *words, ...) { (void)words; }

void *refuse_or_take(size_t size)
{
    log_call("malloc(%zu), %d\n", size, 1);
    return size > sizeof pool - used ? answers[0](size) : answers[1](size);
}

void *second_name(size_t size) __attribute__((alias("refuse_or_take")));
static void *(*const by_pointer)(size_t) = second_name;

void *names_malloc(size_t size) { return size < 100 ? second_name(size) : by_pointer(size); }

void names_free(void *block)
{
    if (block && ((char *)block < pool || (char *)block > pool + sizeof pool)) {
        printf("not mine: %p\n", block);
        abort();
    }
}
