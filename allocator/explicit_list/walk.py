"""The layout invariant of explicit_list.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
RULES           what it speaks of
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                False where the host has more, True where others took what lies behind
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.boundary_tags_walk import (
    GRAIN,
    SMALLEST,
    TAG,
    fits_in,
    found,
    walk_rows,
    walk_runs,
)
from allocator.parts.windows import by_verb, listed

HEADER = '#include "explicit_list.h"'
FIELDS = ("first", "end", "limit", "free_list", "address_ordered")
RULES = ("tiling", "tags", "adjacent_free", "free_list")
ROOMS = (((), ()), ((176,), ()), ((104,), ()), ((64, 48), ()), ((64,), (), False, True))
QUICK = (((), ()), ((96,), ()))


def walk(heap):
    """The rows of blocks from the lowest up, then the free list."""
    _, free = walk_rows(heap, merged=True)
    walk_list(heap, free)


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


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py."""
    _, free = walk_runs(heap, merged=True)
    walk_list(heap, free)


GRID = (TAG, GRAIN, SMALLEST)
SETTINGS = ("address_ordered",)
SEARCHES = {"find_fit": found}
WINDOWS_OF = {"explicit_list+address_order": {}}  # its list is searched for the place
WINDOWS = by_verb(listed("U", "UF", "FU", "FUF"), listed("F"))


def fits(heap, size, alignment):
    """A free block holds the request: explicit_list.h, FIT."""
    return fits_in(heap.blocks, size, alignment)
