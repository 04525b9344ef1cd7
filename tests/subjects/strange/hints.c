/* Hints to the compiler that change nothing: what is likely, what is constant, what is assumed. */
#include <assert.h>
#include <stddef.h>

static char pool[4096];
static size_t used;

void *hints_malloc(size_t size)
{
    if (__builtin_expect(size > sizeof pool - used, 0))
        return NULL;
    if (__builtin_expect_with_probability(size == 7, 1, 0.9))
        __builtin_prefetch(pool + used);
    __builtin_assume(size <= 4096);
    if (__builtin_constant_p(size) && size != size)
        __builtin_unreachable();
    assert(__builtin_object_size(pool + used, 0) >= sizeof pool - used);
    void *block = pool + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}

void hints_free(void *block) { (void)block; }
