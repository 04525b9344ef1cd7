/* The storage allocator of the old textbooks: one circular list of free blocks in address order, the
 * search from where the last one ended, pages by sbrk. */
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

typedef struct header {
    struct header *next;
    size_t units; /* of a header each, this one counted */
} Header;

enum { LEAST_UNITS = 64 };

static Header base = { &base, 0 };
static Header *start = &base;

void kr_free(void *payload)
{
    if (!payload)
        return;
    Header *block = (Header *)payload - 1, *at = start;
    while (!(block > at && block < at->next)) {
        if (at >= at->next && (block > at || block < at->next))
            break; /* at either end of the circle */
        at = at->next;
    }
    if (block + block->units == at->next) {
        block->units += at->next->units;
        block->next = at->next->next;
    } else {
        block->next = at->next;
    }
    if (at + at->units == block) {
        at->units += block->units;
        at->next = block->next;
    } else {
        at->next = block;
    }
    start = at;
}

static Header *more(size_t units)
{
    if (units < LEAST_UNITS)
        units = LEAST_UNITS;
    if (units > PTRDIFF_MAX / sizeof(Header))
        return NULL; /* to sbrk that would be a request to give memory back */
    Header *block = sbrk((intptr_t)(units * sizeof(Header)));
    if (block == (void *)-1)
        return NULL;
    block->units = units;
    kr_free(block + 1);
    return start;
}

void *kr_malloc(size_t size)
{
    if (size > SIZE_MAX - 2 * sizeof(Header))
        return NULL;
    size_t units = (size + sizeof(Header) - 1) / sizeof(Header) + 1;
    Header *before = start;
    for (Header *at = before->next;; before = at, at = at->next) {
        if (at->units >= units) {
            if (at->units == units) {
                before->next = at->next;
            } else {
                at->units -= units;
                at += at->units;
                at->units = units;
            }
            start = before;
            return at + 1;
        }
        if (at == start && !(at = more(units)))
            return NULL;
    }
}
