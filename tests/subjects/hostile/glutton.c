/* Takes memory behind everybody's back, and writes all over it, each time it is called. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/mman.h>

enum { BITE = 1 << 24 };

typedef void *map_function(void *, size_t, int, int, int, long);

static char *bite(void)
{
    map_function *map = (map_function *)dlsym(RTLD_DEFAULT, "mmap");
    char *start = map(NULL, BITE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

void *glut_malloc(size_t size)
{
    char *block = bite();
    if (!block || size > BITE)
        return NULL;
    for (size_t at = 0; at < BITE; at += 1 << 16)
        block[at] = 1;
    return block;
}

void glut_free(void *block)
{
    (void)block;
}
