/* The mutations of programs in decoder.h's encoding, one by one; libFuzzer asks for any of them.
 *
 * Each keeps to whole operations: what went in as a program comes out as a program.
 */
#ifndef ALLOCHECK_MUTATOR_H
#define ALLOCHECK_MUTATOR_H

#include <stddef.h>
#include <stdint.h>

enum mutation {
    M_INSERT,    /* a few random operations */
    M_DELETE,    /* a stretch goes */
    M_SWAP,      /* two operations change places */
    M_MOVE,      /* a stretch is taken out and put in elsewhere */
    M_DUPLICATE, /* a stretch is put in once more, elsewhere */
    M_LOOP,      /* a stretch is repeated where it is, several times */
    M_ACTION,    /* what one operation does */
    M_BLOCK,     /* the block, the shape or the alignment of one */
    M_SIZE,      /* the size of one */
    M_ONE_OFF,   /* its size or its place among the blocks, by one step */
    M_SAME_SIZE, /* the size of one is that of another, or next to it */
    M_EXTREME,   /* a size, a count or an alignment that nobody can grant, or just so */
    M_PROFILE,   /* which operations take part, which sizes, how many blocks live */
    M_REGROW,    /* from some operation on all is new: another future of the same heap */
    M_ANEW,      /* all is new, as from the blind generator */
    MUTATIONS
};

enum crossing {
    C_SPLICE,  /* the head of one and the tail of the other */
    C_GRAFT,   /* a stretch of the other is put into the one */
    C_OVERLAY, /* a stretch of the other in the place of as many operations */
    CROSSINGS
};

/* Applies one mutation in place and returns the new size in bytes: the profile and whole
 * operations, `max_size` at most.  The same arguments, the same result.  max_size must hold one
 * operation; a shorter profile is filled up with zeros. */
size_t mutator_apply(enum mutation mutation, uint8_t *data, size_t size, size_t max_size,
                     unsigned seed);

/* Makes a program of two, with the profile of the first; 0 where one of them has no profile or
 * there is no room for it. */
size_t mutator_cross(enum crossing crossing, const uint8_t *one, size_t one_size,
                     const uint8_t *other, size_t other_size, uint8_t *out, size_t max_size,
                     unsigned seed);

#endif
