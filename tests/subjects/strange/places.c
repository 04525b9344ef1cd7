/* Constant places as operands: fields of fields, of elements, and what is computed of them. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static char pool[4096];
static struct heap {
    char *base;
    struct { size_t used; unsigned count, sizes[4]; } state;
} heaps[2];

static size_t *chosen(int which) { return which ? &heaps[1].state.used : &heaps[0].state.used; }

static unsigned *last(unsigned *first) { return first + 3; }

void *places_malloc(size_t size)
{
    size_t *used = &heaps[1].state.used;
    if (size > sizeof pool - *used)
        return NULL;
    heaps[1].state.count++;
    *last(heaps[1].state.sizes) = (unsigned)size;
    assert(heaps[1].state.sizes[3] == size && heaps[1].state.count > 0);
    assert(chosen(heaps[1].state.count != 0) == used && chosen(0) == &heaps->state.used);
    assert((char *)&heaps[1] - (char *)heaps == sizeof *heaps);
    assert((uintptr_t)&heaps[1].state - (uintptr_t)&heaps[1] == offsetof(struct heap, state));
    *(volatile unsigned char *)((uintptr_t)&heaps[0].state.sizes[2] + 1) = 3;
    assert(heaps[0].state.sizes[2] == 3 << 8);
    char *block = pool + *used;
    *used += (size + 15) & ~(size_t)15;
    return block;
}

void places_free(void *block) { (void)block; }
