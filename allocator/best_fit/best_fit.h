/* best_fit: a balanced tree of the free blocks, best fit, sealed headers, pages for large blocks.
 *
 * A block starts at a multiple of 16 with a header of two words: a checksum, and the block's size
 * with three flags in its lowest bits.  Sizes count the header and are multiples of 16, at least
 * 48.  A free block keeps its place in the tree where its payload was, and its size once more in
 * its last word, where the block above finds it.
 *
 *      used   | checksum | size+flags | payload, 16-byte aligned ........................... |
 *      free   | checksum | size+flags | left | right | height | ... whatever is left | size  |
 *             ^ block                 ^ block+16                             block+size-8 ^
 *
 *      flags: 1 the block is used, 2 the block below it is free, 4 it is a mapped region
 *
 * Blocks lie in rows.  A row is what the page source granted without a break; it starts with two
 * words of its own and ends with a fence, the header of a used block of size 0, so that a merge
 * never looks beyond the row:
 *
 *      | above | end | block | block | block | ... | fence |
 *        ^ row         ^ row+16                      ^ row->end
 *
 * When the page source returns memory further up, because somebody else took what lay between, a
 * new row begins there; the gap is not ours and is never looked at.  Rows are linked from the
 * lowest up.  The one that new memory may follow on is the top row.
 *
 * A large block is a region of pages of its own.  Its header lies right below its payload, and
 * right below that what only a region has; what is below that, `lead` less 32 bytes, is unused:
 *
 *      | .......... | next | lead | checksum | size+flags | payload ......................... |
 *        ^ region     ^ payload-32                          ^ region+lead       region+size ^
 *
 * Regions are linked from the lowest up.
 *
 * PLACEMENT.  A request of n bytes needs a block of block_size(n) = max(48, n + 16 rounded up to
 * a multiple of 16).  If that is THRESHOLD (32768) or more, the block is a region: see REGIONS.
 * Otherwise the smallest free block that is large enough is taken; among equals, the one at the
 * lowest address.  Its lower part is used; a rest of 48 bytes or more becomes a free block of its
 * own, a smaller rest stays with the used block.  A block that is freed is merged at once with
 * the free blocks above and below it in its row.
 *
 * GROWTH.  When no free block is large enough, the heap asks for what is missing: the needed size
 * less the size of the top row's last block if that one is free, rounded up to a multiple of
 * 4096.  Where there is no top row it asks for 32 bytes more (the ends of a row).  New memory that
 * follows on the memory granted last makes the top row longer, and joins a free last block.  Any
 * other starts a row, the new top row, at the first multiple of 16 in it.  The fence ends at the
 * last multiple of 16; what is left above it, up to 15 bytes, joins the memory granted next if
 * that follows on.  The heap asks again while it is still too small.
 *
 * GIVING BACK.  When a block has been freed, by mem_free or by a resize that moved it, and the
 * whole top row is one free block, the row's memory is given back to the page source, all that was
 * granted for it.  Then there is no top row until the heap grows again; a row below stays as it
 * is, for what lies above it is somebody else's.  When the page source refuses, nothing changes.
 *
 * ALIGNED ALLOCATION.  An alignment up to 16 is an ordinary request.  A larger one takes, by the
 * rules above, a free block of at least block_size(n) + alignment + 32 bytes; the payload is the
 * lowest aligned address in it that leaves no room, or at least 48 bytes, below; that room and
 * the rest above become free blocks.  A request is large by block_size(n) alone.
 *
 * REGIONS.  A large request of n bytes at an alignment of a (16 unless it asks for more) maps
 * max(32, a) + n bytes, rounded up to a multiple of 4096.  Its payload is the first multiple of a
 * that leaves 32 bytes below; pages wholly behind the n bytes are unmapped again.  So a region
 * spans lead + n bytes, rounded up to a multiple of 4096; lead + 1 if a resize leaves it with none.
 * Freeing it unmaps it.
 *
 * RESIZING.  What a block needs and whether it is large goes by the new size n:
 *   a row's block, not large     stays where it is if it is large enough together with a free
 *                                upper neighbour, if it has one.  It takes what it needs from the
 *                                two; a rest of 48 bytes or more becomes a free block, a smaller
 *                                rest stays with the used block.  Otherwise it moves.
 *   a row's block, large         moves into a region.
 *   a region, large              stays: the pages behind lead + n bytes are unmapped, or the
 *                                page source is asked to extend it by what is missing.  If that
 *                                is refused, it moves into another region.
 *   a region, not large          moves into a row.  If no free block serves it and the page source
 *                                refuses, it stays like a large one; if it would have to be
 *                                extended and that is refused too, the answer is NULL.
 * To move is to allocate n bytes (at no particular alignment), copy, and free.
 *
 * FIT RELATION.  A request that is not large is served without new pages if and only if some free
 * block has the size that it needs (block_size(n), or that plus alignment + 32).  A large one
 * always asks for pages, a resize in place excepted.  NULL comes of a refusal of the page source.
 *
 * CHECKSUMS.  A header's checksum is computed from its size and flags, its address and a key that
 * the heap keeps.  A change of any one of these alone changes it.  Every header is checked before
 * its size is followed.  A header that stops being one, because its block was merged away, still
 * says "free" until the memory is handed out and written over.  This finds accidents; it does not
 * stop an attacker who can read the heap.
 *
 * MISUSE.  A pointer handed to mem_free, mem_resize or mem_usable_size that is not the payload of
 * a live block is reported: one line to file descriptor 2, then abort().  The line is one of
 *   best_fit: double free of 0x...               the block was freed, and its memory has not been
 *                                                handed out since; a region that was freed is the
 *                                                next case, for its pages are not ours any more
 *   best_fit: interior or foreign pointer 0x...  it points elsewhere into a block, or to no row
 *                                                and no region; what it points to is not read
 *   best_fit: smashed header of 0x...            the header below this payload was overwritten
 *   best_fit: smashed footer below 0x...         the last word of the free block below this block
 *                                                was overwritten
 * The last two also end any other call that meets such a header or footer.  Not detected: writes
 * into free blocks that leave header and footer alone, and into what lies below the header in a
 * row's first block or a region.
 *
 * COSTS.  With f free blocks, r rows (one, but for the gaps) and m regions: alloc O(log f), free
 * and resize O(log f + r), plus O(m) for regions and for misuse; a report is linear in the row.
 * The tree is an AVL tree: no path in it is longer than 1.44 log2(f + 2).  Overhead: 16 bytes a
 * block, 32 a row, 32 and the rounding to pages a region.
 *
 * GOOD AT: low fragmentation at a predictable cost, whatever the sizes; finding misuse early.
 * BAD AT: speed on small blocks, which pay for a search, two checksums and a minimum of 48 bytes;
 * sizes that go up and down around THRESHOLD, which copies and maps each time; a program that
 * frees its last block again and again, which moves the break each time.
 *
 * Not thread-safe.
 */
#ifndef BEST_FIT_H
#define BEST_FIT_H

#include <stdint.h>

#include "mem.h"

/* From which block size on a block is a region; the proofs take less. */
#ifndef BEST_FIT_THRESHOLD
#define BEST_FIT_THRESHOLD 32768
#endif
enum { THRESHOLD = BEST_FIT_THRESHOLD };

struct mem_node;
struct mem_row;
struct mem_region;

struct mem_heap {
    struct page_source *pages;
    uint64_t key;
    struct mem_node *tree;      /* the free blocks; size_tree.h */
    struct mem_row *rows;       /* the lowest one; NULL where there is none */
    struct mem_row *top_row;    /* NULL where no row can grow */
    char *start;                /* the first byte of the memory that the top row lies in */
    char *limit;                /* the first byte beyond it */
    struct mem_region *regions; /* the lowest one */
};

/* mem_open with a key of one's own: what a program in production takes, a random number of each
 * start.  mem_open itself takes a constant mixed with the heap's address, so that a program which
 * runs twice in the same place shows the same twice. */
void mem_open_keyed(struct mem_heap *heap, struct page_source *pages, uint64_t key);

/* What mem_check looks at, block by block from the lowest row up, and then:
 *   "tiling"         every size is a multiple of 16, at least 48, and the blocks of a row end at
 *                    its fence; rows and regions go up without overlap, a region's size is a
 *                    multiple of 4096, its lead a multiple of 16, at least 32, and it starts at a
 *                    multiple of 4096
 *   "checksum"       each header's checksum, the fences' and the regions' too, is right
 *   "tags"           a block says of the block below it whether it is free, and a free block's
 *                    last word is its size; only regions say that they are regions
 *   "adjacent_free"  no two neighbours are both free
 *   "free_list"      the tree holds each free block exactly once and nothing else; it is ordered
 *                    by size and then by address; each node's height is one more than that of
 *                    its higher subtree, and the two differ by one at most
 */
#endif
