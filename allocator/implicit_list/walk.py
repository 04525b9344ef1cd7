"""The layout invariant of implicit_list.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
RULES, NOT_OF   what it speaks of, but for some variants
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.boundary_tags_walk import fits_in, walk_rows

HEADER = '#include "implicit_list.h"'
FIELDS = ("first", "end", "limit", "rover", "policy")
NEXT_FIT, DEFERRED = 1, 2
RULES = ("tiling", "tags", "adjacent_free", "free_list")
NOT_OF = {"implicit_list+deferred": ("adjacent_free",)}
ROOMS = (((), ()), ((176,), ()), ((56,), ()), ((48, 48), ()))
QUICK = (((), ()), ((80,), ()), ((48, 48), ()))


def walk(heap):
    """The rows of blocks, then the rover."""
    policy = heap.setting("policy")
    blocks, _ = walk_rows(heap, merged=policy != DEFERRED)
    heap.field("rover", [0, *blocks] if policy == NEXT_FIT else [0], "free_list")


def fits(heap, size, alignment):
    """A free block holds the request, or a run of them if merging is deferred: FIT."""
    return fits_in(heap.blocks, size, alignment, joined=heap.setting("policy") == DEFERRED)
