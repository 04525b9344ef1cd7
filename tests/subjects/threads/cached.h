/* The functions of cached.c; those of C23 of the same names, for any thread. */
#ifndef CACHED_H
#define CACHED_H

#include <stddef.h>

void *cached_malloc(size_t size);
void *cached_calloc(size_t count, size_t size);
void *cached_realloc(void *block, size_t size);
void cached_free(void *block);
size_t cached_usable_size(const void *block);
size_t cached_large_bytes(void); /* what live large blocks span */

#endif
