/* Homework 4: a heap in a static array, first fit.  Usage: hw_malloc / hw_free / hw_realloc. */
#include <stdint.h>
#include <string.h>
#include <stddef.h>

#define POOL_SIZE (64 * 1024)

typedef struct header {
    size_t size;          /* bytes after the header */
    struct header *next;  /* next chunk, used or not, by address */
    int is_free;
    int padding;
    long unused;
} header_t;

static _Alignas(16) unsigned char pool[POOL_SIZE];
static header_t *first;

static void pool_start(void)
{
    first = (header_t *)pool;
    first->size = POOL_SIZE - sizeof(header_t);
    first->next = NULL;
    first->is_free = 1;
}

static void split(header_t *h, size_t size)
{
    if (h->size < size + sizeof(header_t) + 16)
        return;
    header_t *rest = (header_t *)((unsigned char *)(h + 1) + size);
    rest->size = h->size - size - sizeof(header_t);
    rest->next = h->next;
    rest->is_free = 1;
    h->size = size;
    h->next = rest;
}

void *hw_malloc(size_t size)
{
    if (!first)
        pool_start();
    if (size == 0 || size > POOL_SIZE)
        return NULL;
    size = (size + 15) / 16 * 16;
    for (header_t *h = first; h; h = h->next) {
        if (h->is_free && h->size >= size) {
            split(h, size);
            h->is_free = 0;
            return h + 1;
        }
    }
    return NULL;
}

void hw_free(void *p)
{
    if (!p)
        return;
    ((header_t *)p - 1)->is_free = 1;
    for (header_t *h = first; h && h->next;) {
        if (h->is_free && h->next->is_free) {
            h->size += sizeof(header_t) + h->next->size;
            h->next = h->next->next;
        } else {
            h = h->next;
        }
    }
}

void *hw_calloc(size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return NULL;
    void *p = hw_malloc(n * size);
    if (p)
        memset(p, 0, n * size);
    return p;
}

void *hw_realloc(void *p, size_t size)
{
    if (!p)
        return hw_malloc(size);
    header_t *h = (header_t *)p - 1;
    if (h->size >= size)
        return p;
    void *q = hw_malloc(size);
    if (q) {
        memcpy(q, p, h->size);
        hw_free(p);
    }
    return q;
}
