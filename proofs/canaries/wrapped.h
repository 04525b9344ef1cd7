/* wrapped.h: a subject's functions under another name, for a wrapper with a bug to call them.
 *
 * The wrapper stands between the explorer and the subject: what it breaks must be found, whatever
 * the subject is. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

void *sound_malloc(size_t size);
void *sound_calloc(size_t count, size_t size);
void *sound_realloc(void *block, size_t size);
void sound_free(void *block);
size_t sound_usable_size(void *block);
