/* The writable segments of a loaded library and this thread's copy of its thread-local variables,
 * copied once and put back before every run, so that a subject with static state shows the same
 * each time. */
#ifndef ALLOCHECK_SNAPSHOT_H
#define ALLOCHECK_SNAPSHOT_H

#include <stddef.h>

#include "confine.h"

enum { SEGMENT_CAPACITY = 32 };

struct segment {
    char *start;
    size_t copied;    /* bytes put back from `copy` */
    size_t dropped;   /* bytes behind them, in whole pages, that the kernel has the contents of */
    char *copy;
};

struct extent {
    char *start;
    size_t size;
};

struct snapshot {
    struct segment segments[SEGMENT_CAPACITY];
    int count;
    struct extent extents[SEGMENT_CAPACITY]; /* the same memory, in pieces as large as they are */
    int extent_count;
    struct {
        size_t module, size;
    } locals[SEGMENT_CAPACITY]; /* thread-local variables, of which each thread has a copy */
    int local_count;
};

/* Adds the writable segments of the library around `address`, less [hole, hole_end), which is
 * left alone for ever; -1 when there are too many or no memory is left. */
int snapshot_add(struct snapshot *snapshot, const void *address, char *hole, char *hole_end);

/* The instructions of the library around `address`; 0 if there is none. */
int snapshot_find_code(const void *address, struct code *found);

void snapshot_restore(const struct snapshot *snapshot);

/* Whether [start, start + size) lies in one writable segment of the subject, or in the calling
 * thread's copy of its thread-local variables. */
int snapshot_contains(const struct snapshot *snapshot, const char *start, size_t size);

void snapshot_free(struct snapshot *snapshot);

#endif
