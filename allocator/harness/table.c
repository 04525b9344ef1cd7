/* Compiled into every subject's library: the table of what the adapter defines; the rest is NULL. */
#include "bind.h"

WEAK int allocheck_init(void *arena, size_t arena_size);
WEAK void *allocheck_malloc(size_t size);
WEAK void *allocheck_calloc(size_t count, size_t size);
WEAK void *allocheck_realloc(void *block, size_t size);
WEAK void *allocheck_aligned_alloc(size_t alignment, size_t size);
WEAK void *allocheck_memalign(size_t alignment, size_t size);
WEAK int allocheck_posix_memalign(void **result, size_t alignment, size_t size);
WEAK void allocheck_free(void *block);
WEAK size_t allocheck_usable_size(void *block);
WEAK const char *allocheck_check(void);
WEAK size_t allocheck_walk(struct heap_block *blocks, size_t capacity);
WEAK void allocheck_noise(uint64_t seed);
WEAK const char *allocheck_bind(const struct host *host);
WEAK void allocheck_thread_ends(void);

__attribute__((visibility("default"))) struct subject allocheck_subject = {
    .version = SUBJECT_VERSION,
    .bind = allocheck_bind,
    .init = allocheck_init,
    .malloc = allocheck_malloc,
    .calloc = allocheck_calloc,
    .realloc = allocheck_realloc,
    .aligned_alloc = allocheck_aligned_alloc,
    .memalign = allocheck_memalign,
    .posix_memalign = allocheck_posix_memalign,
    .free = allocheck_free,
    .usable_size = allocheck_usable_size,
    .check = allocheck_check,
    .walk = allocheck_walk,
    .noise = allocheck_noise,
    .thread_ends = allocheck_thread_ends,
};
