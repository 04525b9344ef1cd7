/* Drives one page source by commands on standard input, for tests/test_page_sources.py.
 *
 * The mapped source gets its regions from 64 pages of a static array, which refuses, or places a
 * region, as the commands say.  Offsets are told from that array, or from the break at the start.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "page_source_array.h"
#include "page_source_mapped.h"
#include "page_source_system.h"

enum { PAGE = 4096, PAGES = 64 };

static _Alignas(4096) char memory[PAGES * PAGE];
static bool taken[PAGES];
static size_t place = PAGES; /* the page where map() puts the next region; PAGES: the lowest run */
static bool fixed, full;     /* extend() refuses; map() does */

static bool are_free(size_t first, size_t count)
{
    if (first > PAGES || count > PAGES - first)
        return false;
    for (size_t page = first; page < first + count; page++)
        if (taken[page])
            return false;
    return true;
}

static char *take(size_t first, size_t count)
{
    memset(taken + first, 1, count);
    return memset(memory + first * PAGE, 0, count * PAGE);
}

static void *map(struct page_source *self, size_t size)
{
    (void)self;
    size_t first = place < PAGES ? place : 0;
    while (first < PAGES && place == PAGES && !are_free(first, size / PAGE))
        first++;
    return full || !are_free(first, size / PAGE) ? NULL : take(first, size / PAGE);
}

static bool extend(struct page_source *self, void *region, size_t size, size_t new_size)
{
    (void)self;
    size_t first = ((size_t)((char *)region - memory) + size) / PAGE;
    size_t count = (new_size - size) / PAGE;
    return !fixed && are_free(first, count) && take(first, count);
}

static void unmap(struct page_source *self, void *region, size_t size)
{
    (void)self;
    size_t first = (size_t)((char *)region - memory) / PAGE;
    for (size_t page = first; page < first + size / PAGE; page++) {
        if (page >= PAGES || !taken[page] || (uintptr_t)region % PAGE || size % PAGE)
            abort();
        taken[page] = false;
    }
    memset(region, 0xee, size);
}

static struct page_source scripted = { NULL, NULL, map, extend, unmap };
static struct page_source_array array;
static struct page_source_mapped mapped;
static struct page_source *source;
static char *origin = memory;

static void tell_grown(unsigned char *grown, size_t size)
{
    if (!grown) {
        puts("NULL");
        return;
    }
    int dirty = 0;
    for (size_t i = 0; i < size; i++)
        dirty |= grown[i];
    printf("%td%s\n", (char *)grown - origin, dirty ? " dirty" : "");
    memset(grown, 0xaa, size);
}

static void tell_taken(void)
{
    for (int page = 0; page < PAGES; page++)
        putchar(taken[page] ? '#' : '.');
    putchar('\n');
}

static int obey(const char *word, size_t first, size_t second)
{
    if (!strcmp(word, "array"))
        source = page_source_array(&array, memset(memory, 0xa7, sizeof memory) + first, second);
    else if (!strcmp(word, "mapped"))
        source = page_source_mapped(&mapped, &scripted);
    else if (!strcmp(word, "system"))
        source = page_source_system(), origin = sbrk(0);
    else if (!strcmp(word, "grow"))
        tell_grown(source->grow(source, first), first);
    else if (!strcmp(word, "shrink"))
        puts(source->shrink(source, first) ? "yes" : "no");
    else if (!strcmp(word, "map"))
        puts(source->map(source, first) ? "yes" : "no");
    else if (!strcmp(word, "extend"))
        puts(source->extend(source, memory, first, second) ? "yes" : "no");
    else if (!strcmp(word, "foreign"))
        memset(sbrk((intptr_t)first), 0xf0, first);
    else if (!strcmp(word, "place"))
        place = first;
    else if (!strcmp(word, "fixed"))
        fixed = first;
    else if (!strcmp(word, "full"))
        full = first;
    else if (!strcmp(word, "taken"))
        tell_taken();
    else
        return 0;
    return 1;
}

int main(void)
{
    static char in[4096], out[4096]; /* else the C library would move the break for its buffers */
    setvbuf(stdin, in, _IOFBF, sizeof in);
    setvbuf(stdout, out, _IOFBF, sizeof out);
    char line[80], word[16];
    while (fgets(line, sizeof line, stdin)) {
        size_t first = 0, second = 0;
        if (sscanf(line, "%15s %zu %zu", word, &first, &second) < 1 || !obey(word, first, second))
            return 1;
    }
    return 0;
}
