/* The memory that the harness owns and hands to a subject: a program break, mapped regions, an
 * arena.  Capped, fenced by guard pages and by canary bytes, and able to refuse a request. */
#ifndef ALLOCHECK_STORE_H
#define ALLOCHECK_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "subject.h"

enum { PAGE = 4096, CANARY = 256, FENCE = 1 << 16, FOREIGN_CAPACITY = 16 };
#define STORE_RESERVE ((size_t)1 << 30)

/* Of a page of the mapped regions. */
enum page_state { PAGE_FREE = 0, PAGE_GRANTED, PAGE_RESERVED };

struct span {
    char *start;
    size_t size;
};

struct store {
    struct host host;
    size_t cap;     /* bytes that may be granted in this run */
    size_t granted; /* bytes that are: below the break, less foreign ones, and mapped */

    char *base;     /* the break starts here */
    size_t end;     /* ... and stands at base + end */
    size_t opened;  /* pages below base + opened are accessible, FENCE bytes above are not */
    size_t ever_opened, asked_cap;
    size_t touched; /* bytes below base + touched may differ from zero */
    int is_protected; /* the subject has changed how pages below the break can be accessed */
    struct span foreign[FOREIGN_CAPACITY];
    int foreign_count;

    char *maps;             /* mapped regions live here */
    unsigned char *mapped;  /* one byte a page: enum page_state */
    size_t maps_end;        /* no page from here on has been granted in this run */

    char *arena;
    size_t arena_size;
    struct span arena_room; /* the mapping around it */

    uint64_t deny_countdown; /* 1: the next request for pages is refused; 0: none is */
    int deny_all;
    uint32_t seen;          /* observation flags of the operation under way */
    char *damaged;          /* first byte outside given memory that was found changed, or NULL */
};

/* Reserves address space; 0 on success. */
int store_open(struct store *store, size_t arena_size);

/* Empties the store for a new run with a cap of `cap` bytes and dirties the arena. */
void store_reset(struct store *store, size_t cap);

/* After a run that may have written where it had no memory: forgets every byte. */
void store_scrub(struct store *store);

/* Whether [start, start + size) is granted memory: one area, no foreign byte in it. */
int store_contains(const struct store *store, const char *start, size_t size);

/* Somebody else moves the break up by `size` bytes; 0 if there is no room. */
int store_foreign(struct store *store, size_t size);

/* Looks at the bytes around granted memory; sets `damaged`. */
void store_check_canaries(struct store *store);

void store_close(struct store *store);

#endif
