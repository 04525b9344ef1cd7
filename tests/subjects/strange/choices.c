/* Switches, negative cases among them, conditions without branches, and a walk through a table. */
#include <assert.h>
#include <stddef.h>

static char pool[4096];
static size_t used;
static const unsigned short steps[] = { 16, 32, 64, 128 };

static size_t rounded(size_t size)
{
    switch (size) {
    case 0: return 16;
    case 1 ... 16: return 16;
    case (size_t)-1: return 0;
    default: break;
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (size <= steps[i])
            return steps[i];
    return size > sizeof pool ? 0 : (size + 127) & ~(size_t)127;
}

void *choices_malloc(size_t size)
{
    size_t step = rounded(size);
    assert(step % 16 == 0);
    const char *from = step ? pool : NULL;
    assert((from == pool) == (step != 0));
    if (!step | (step > sizeof pool - used))
        return NULL;
    void *block = pool + used;
    used += step;
    return block;
}

void choices_free(void *block) { (void)block; }
