/* first_fit: all blocks in one doubly linked list in address order, first fit, immediate fusion
 * both ways, and the end of the heap given back: the malloc of the sbrk tutorials, done properly.
 *
 * A block is a header of five words with the payload behind it.  Sizes count the header and are
 * multiples of 16, at least 48.  Blocks start at 8 modulo 16, so that payloads are 16-byte aligned.
 *
 *      | size | next | previous | used | self | payload, 16-byte aligned ................ |
 *      ^ block                  ^ +24  ^ +32  ^ block+40                       block+size ^
 *
 *      next, previous   the next block up and down, of the whole heap; NULL at its two ends
 *      used             1 or 0
 *      self             the block's own address: what a pointer handed to mem_free is held to
 *
 * Memory that follows on from one request of pages to the next makes one row: a record of three
 * words at a multiple of 16, and blocks that touch.  When the page source returns memory elsewhere,
 * because somebody else took what lay between, another row begins.  Blocks of two rows are linked,
 * and never fused, even should the rows touch.
 *
 *      | below | start | limit | block | block | ... | block |...|
 *      ^ row, the first multiple of 16           row's end ^   ^ limit: the memory ends
 *
 *      start, limit     the memory as the page source gave it, at any alignment
 *      row's end        the last address up to the limit that is 8 modulo 16
 *
 * The row that pages were granted to last is the open one: it can grow and shrink.  After a gap,
 * or when the open row is given back whole, no other row becomes the open one.
 *
 * PLACEMENT.  A request of n bytes needs a block of block_size(n) = n + 40 rounded up to a multiple
 * of 16.  The lowest free block that is large enough is taken.  Its lower part is used; a rest of
 * 48 bytes or more becomes a free block of its own, a smaller rest stays with the used block.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  For a larger one the payload
 * lies in a free block at the lowest aligned address that leaves no room, or at least 48 bytes,
 * below; a block is large enough if it holds that room and block_size(n).  The room becomes a free
 * block, and a rest above as for any request.
 *
 * GROWTH.  When no free block is large enough, the open row is to grow until its last block is
 * (the last one if it is free, else a new one at the row's end), and the heap asks for just the
 * bytes missing behind the limit.  What it gets elsewhere it gives back, and there is no open row
 * any more.  Without an open row a new one is asked for: 24 bytes (the record), block_size(n), 15
 * (any alignment of the memory), and for an alignment over 16 the alignment and 32 bytes.  All of
 * a new row, and all that a row grows by, is one free block, fused with a free one below it.
 *
 * FIT RELATION.  So a request is served without pages exactly if a free block holds block_size(n)
 * and, for an alignment over 16, the room below the aligned payload.
 *
 * FREEING.  A freed block is fused with a free upper and a free lower neighbour of its row.  If it
 * then reaches the end of the open row, it is given back to the page source, with what lies between
 * the row's end and the limit, and with the row's record if it is the row's only block.  Where the
 * page source refuses, as when somebody else has taken memory behind it, the block stays.
 *
 * RESIZING.  When the block together with a free upper neighbour, if it has one, is large enough,
 * it stays where it is and takes what it needs from the two; a rest of 48 bytes or more is freed
 * (see FREEING), a smaller rest stays with the used block.  Otherwise a new block is allocated, the
 * payload copied, and the old block freed.
 *
 * COSTS.  alloc: linear in the number of all blocks, used ones too.  resize: as alloc, plus the
 * copy.  free: constant but for a look at each row, and pages go back at once.  40 bytes a block.
 *
 * GOOD AT.  Being read.  Small heaps that come and go whole: all pages are given back at the end,
 * but for rows below a gap.  The lowest fit keeps the upper end free, so much of it does go back.
 * BAD AT.  Many blocks: every allocation passes all of them from the bottom.  A free at the end
 * followed by an allocation, over and over: each is a call of the page source.
 *
 * MISUSE.  mem_free and mem_resize call abort() unless the pointer is a multiple of 16, lies in a
 * row with room for a header below it, and that header has its own address in `self` and says used.
 * Nothing outside the rows is read.  So these are always detected:
 *      a block that has been freed, with no allocation in between (its header says free until the
 *      memory is used again, or lies outside the rows)
 *      a pointer outside the rows, and one that is no multiple of 16
 * Any other pointer into the heap is detected unless the bytes below it happen to make a header.  A
 * self pointer is not a checksum: a program can write it into its own payload, and free a pointer
 * into that payload undetected.
 *
 * Not thread-safe.  Any page source will do, also one whose memory lies lower than the last.
 */
#ifndef FIRST_FIT_H
#define FIRST_FIT_H

#include "mem.h"

struct block;
struct row;

struct mem_heap {
    struct page_source *pages;
    struct block *first; /* the lowest block of all, or NULL */
    struct row *rows;    /* the newest first */
    bool open;           /* the newest row is the open one */
};

/* What mem_check looks at, for each block from the lowest up:
 *   "tiling"         the lowest block of a row is behind its record; sizes are multiples of 16, at
 *                    least 48; `next` is where the block ends, or if that is the row's end, the
 *                    lowest block of the next row up; the list passes every row
 *   "tags"           `self` is the block, `previous` the block before, `used` 0 or 1
 *   "adjacent_free"  no two blocks that touch in one row are both free
 * mem_walk shows blocks only: a row's record and what lies between rows are no blocks.
 */
#endif
