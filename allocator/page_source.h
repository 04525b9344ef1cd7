/* Where an allocator gets its pages from: the only thing it knows about the outside world.
 *
 * The same allocator runs on the real sbrk and mmap, on a static array, or on a store that a
 * test owns, caps and makes fail, by being handed another page source.  Every function receives
 * the page source itself, so a source may keep state behind it.
 */
#ifndef PAGE_SOURCE_H
#define PAGE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes of a page.  The proofs take less, to have fewer blocks in a region to look at. */
#ifndef MEM_PAGE
#define MEM_PAGE 4096
#endif

struct page_source {
    /* Appends `size` bytes to the contiguous area; returns the first new byte, or NULL when
     * refused.  The new bytes read zero.  They start where the previous ones ended unless
     * somebody else took memory in between; then they start higher, at any alignment. */
    void *(*grow)(struct page_source *self, size_t size);

    /* Gives the last `size` bytes of the contiguous area back; false when refused, as when
     * somebody else has taken memory behind them. */
    bool (*shrink)(struct page_source *self, size_t size);

    /* A separate region of `size` bytes (a multiple of the page size), zeroed, page-aligned;
     * NULL when refused. */
    void *(*map)(struct page_source *self, size_t size);

    /* Lets a mapped region of `size` bytes grow to `new_size` where it lies (both multiples of
     * the page size); the new bytes read zero.  False when refused: it is then as it was. */
    bool (*extend)(struct page_source *self, void *region, size_t size, size_t new_size);

    /* Gives a mapped region, or whole pages at its end, back. */
    void (*unmap)(struct page_source *self, void *region, size_t size);
};

#endif
