/* Variables that start with the places of others, inside and behind them, and with strings. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static char pool[4096];
static struct { size_t tag; struct { char *at, *end; } free; } heap
    = { 5, { pool + 16, pool + sizeof pool } };
static char **const ends[] = { &heap.free.end, &heap.free.at };
static uintptr_t number = (uintptr_t)&heap.free;
static ptrdiff_t apart = (char *)&heap.free.end - (char *)&heap;
static unsigned low = (unsigned)((char *)&heap.free - (char *)&heap);
static struct { char name[8]; short size; union { double weight; uint64_t weight_bits; }; } kinds[]
    = { { "a,b[", 16, { 1.0 } }, { "\"x\",y", 32, { 0.0 } } };
static void *fixed = (void *)4096;

void *initial_malloc(size_t size)
{
    assert(heap.tag == 5 && ends[0] == &heap.free.end && *ends[1] == heap.free.at);
    assert(number == (uintptr_t)&heap.free && apart == 16 && low == 8);
    assert(kinds[0].name[1] == ',' && kinds[0].name[3] == '[' && kinds[1].name[4] == 'y');
    assert(kinds[1].size == 32 && kinds[0].weight_bits >> 52 == 1023 && (uintptr_t)fixed == 4096);
    if (size > (size_t)(*ends[0] - heap.free.at))
        return NULL;
    char *block = heap.free.at;
    heap.free.at += (size + 15) & ~(size_t)15;
    return heap.free.at > heap.free.end ? heap.free.at = block, NULL : block;
}

void initial_free(void *block) { (void)block; }
