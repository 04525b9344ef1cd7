/* An allocator that lies as it is told; liar.c says how. */
#ifndef LIAR_H
#define LIAR_H

#include <stddef.h>

void liar_open(void *memory, size_t size);
void *liar_malloc(size_t size);
void *liar_calloc(size_t count, size_t size);
void *liar_realloc(void *old, size_t size);
void *liar_aligned(size_t alignment, size_t size);
void liar_free(void *payload);
size_t liar_usable_size(void *payload);

#endif
