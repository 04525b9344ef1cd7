"""The layout invariant of implicit_list.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
RULES, NOT_OF   what it speaks of, but for some variants
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                True where the host has no more, and once more where others took what lies behind
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
from allocator.parts.windows import by_verb, rows, visited

HEADER = '#include "implicit_list.h"'
FIELDS = ("first", "end", "limit", "rover", "policy")
NEXT_FIT, DEFERRED = 1, 2
RULES = ("tiling", "tags", "adjacent_free", "free_list")
NOT_OF = {"implicit_list+deferred": ("adjacent_free",)}
ROOMS = (
    ((), ()),
    ((96,), ()),
    ((176,), (), True),
    ((56,), ()),
    ((48, 48), ()),
    ((56,), (), False, True),
)
QUICK = (((), ()), ((80,), ()))


def walk(heap):
    """The rows of blocks, then the rover."""
    blocks, _ = walk_rows(heap, merged=heap.setting("policy") != DEFERRED)
    walk_rover(heap, blocks)


def walk_rover(heap, blocks):
    """Where the next search begins: at a block, or at the lowest."""
    next_fit = heap.setting("policy") == NEXT_FIT
    heap.field("rover", [0, *blocks] if next_fit else [0], "free_list")


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py."""
    blocks, _ = walk_runs(heap, merged=heap.setting("policy") != DEFERRED)
    walk_rover(heap, blocks)


GRID = (TAG, GRAIN, SMALLEST)
SETTINGS = ("policy",)
SEARCHES = {"find_fit": found}
FREED = ("U", "UF", "FU", "FUF")
WINDOWS = by_verb(rows(*FREED), rows("F"))
WINDOWS_OF = {  # the search leaves the rover at what it finds
    "implicit_list+next_fit": by_verb(visited(*FREED), [("F", "0")]),
}


def fits(heap, size, alignment):
    """A free block holds the request, or a run of them if merging is deferred: FIT."""
    return fits_in(heap.blocks, size, alignment, joined=heap.setting("policy") == DEFERRED)
