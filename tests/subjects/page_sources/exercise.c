/* Exercises first_fit in a process of its own, on pages of the real system: no harness around it.
 *
 * Compile with -DMAPPED or -DARRAY for those page sources; for Windows it takes that one. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "first_fit.h"
#if defined(_WIN32)
#include "page_source_windows.h"
#define PAGES page_source_windows()
#elif defined(MAPPED)
#include "page_source_mapped.h"
#include "page_source_system.h"
static struct page_source_mapped mapped;
#define PAGES page_source_mapped(&mapped, page_source_system())
#elif defined(ARRAY)
#include "page_source_array.h"
static struct page_source_array array;
static char memory[64 << 20];
#define PAGES page_source_array(&array, memory + 5, sizeof memory - 5)
#else
#include "page_source_system.h"
#define PAGES page_source_system()
#endif

enum { BLOCKS = 512, STEPS = 200000 };

static struct mem_heap heap;
static struct {
    unsigned char *payload;
    size_t size;
} blocks[BLOCKS];

static uint32_t random_number(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static int wrong(const char *what, long step)
{
    printf("step %ld: %s\n", step, what);
    return 1;
}

static int is_whole(const unsigned char *payload, size_t size, size_t index)
{
    for (size_t i = 0; i < size; i++)
        if (payload[i] != (unsigned char)(index + i))
            return 0;
    return 1;
}

/* A few large blocks make the heap take further regions; most are small. */
static size_t any_size(void)
{
    uint32_t choice = random_number();
    return choice % 4096 == 0 ? 16u << 20 : choice % 64 == 0 ? choice % 100000 : choice % 600;
}

static int step(long number)
{
    size_t index = random_number() % BLOCKS, size = any_size();
    unsigned char *old = blocks[index].payload, *payload;
    if (!is_whole(old, blocks[index].size, index))
        return wrong("content", number);
    size_t kept = size < blocks[index].size ? size : blocks[index].size;
    switch (random_number() % 4) {
    case 0:
        mem_free(&heap, old);
        payload = NULL;
        size = 0;
        break;
    case 1:
        mem_free(&heap, old);
        payload = mem_alloc_aligned(&heap, (size_t)1 << random_number() % 13, size);
        kept = 0;
        break;
    default:
        payload = mem_resize(&heap, old, size);
        if (payload ? !is_whole(payload, kept, index) : !is_whole(old, blocks[index].size, index))
            return wrong("prefix", number);
        if (!payload)
            return 0;
    }
    blocks[index].payload = payload;
    blocks[index].size = payload ? size : 0;
    for (size_t i = 0; i < blocks[index].size; i++)
        payload[i] = (unsigned char)(index + i);
    return number % 1000 == 0 && mem_check(&heap) ? wrong(mem_check(&heap), number) : 0;
}

int main(void)
{
    mem_open(&heap, PAGES);
    for (long number = 0; number < STEPS; number++)
        if (step(number))
            return 1;
    for (int index = 0; index < BLOCKS; index++)
        mem_free(&heap, blocks[index].payload);
    if (mem_check(&heap))
        return wrong(mem_check(&heap), STEPS);
    size_t left = 0;
    static struct mem_block walked[64];
    size_t count = mem_walk(&heap, walked, 64);
    for (size_t i = 0; i < count && i < 64; i++)
        left += walked[i].size;
    printf("ok, %zu free blocks of %zu bytes left\n", count, left);
    return 0;
}
