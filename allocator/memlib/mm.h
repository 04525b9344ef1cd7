/* The malloc lab's mm.h, for an mm.c that comes without it. */
#ifndef MM_H
#define MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

int mm_init(void);
void *mm_malloc(size_t size);
void mm_free(void *block);
void *mm_realloc(void *block, size_t size);

typedef struct {
    char *teamname;
    char *name1;
    char *id1;
    char *name2;
    char *id2;
} team_t;

extern team_t team;

#endif
