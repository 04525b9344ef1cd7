"""The layout invariant of explicit_list.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

HEADER = '#include "explicit_list.h"'
FIELDS = ("first", "end", "limit", "free_list", "address_ordered")
TAG, GRAIN, SMALLEST, USED = 8, 16, 32, 1


def walk(heap):
    """The row of blocks from the lowest up, then the free list."""
    if not heap.rows:
        for name in ("first", "end", "limit", "free_list"):
            heap.field(name, [0], "tiling")
        return
    (start, _size), end_of_all = heap.rows[0], heap.rows[-1][0] + heap.rows[-1][1]
    fence = end_of_all - (end_of_all - start) % GRAIN - TAG
    first = heap.field("first", [start + TAG], "tiling")
    end = heap.field("end", [fence], "tiling")
    heap.field("limit", [end_of_all], "tiling")
    heap.word(first - TAG, [USED], "tags")
    heap.word(end, [USED], "tags")
    walk_list(heap, walk_row(heap, first, end))


def walk_row(heap, at, end):
    """The blocks between the fences; returns the free ones."""
    free, below_used = [], True
    while at != end:
        tag = heap.word(at, heap.between(SMALLEST, end - at, GRAIN, also=(0, USED)), "tiling")
        used = (tag & USED) == USED
        size = tag & ~USED
        heap.word(at + size - TAG, [tag], "tags")
        heap.need("adjacent_free", "two neighbours are both free", used | below_used)
        heap.block(at + TAG, size - 2 * TAG, used)
        if not used:
            free.append(at)
        at, below_used = at + size, bool(used)
    return free


def walk_list(heap, free):
    """The list holds each free block once, linked both ways; in address order it runs upwards."""
    ordered = heap.setting("address_ordered")
    left, previous, link = list(free), 0, heap.address("free_list")
    while left:
        node = heap.word(link, left[:1] if ordered else left, "free_list")
        heap.word(node + 2 * TAG, [previous], "free_list")
        left = heap.without(left, node)
        previous, link = node, node + TAG
    heap.word(link, [0], "free_list")


def fits(heap, size, alignment):
    """A free block holds the request: explicit_list.h, FIT."""
    extra = 0 if alignment <= GRAIN else alignment + GRAIN
    for block in heap.blocks:
        have = block.usable + 2 * TAG
        if not block.used and SMALLEST + extra <= have:
            yield size + 2 * TAG + extra <= have
