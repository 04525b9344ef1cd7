"""The layout invariant of bump.h where each malloc comes behind a mark and a rewind: bump's own.

What a rewind frees leaves nothing behind.  With MARKS_BRIEF two blocks come between, not eight: to
each of them pages may be refused.

STRUCT, FIELDS  of the heap structure, what the walk reads
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.bump.walk import FIELDS, HEADER, PAGE, QUICK, ROOMS, fits, walk

__all__ = ["FIELDS", "FLAGS", "HEADER", "PAGE", "QUICK", "ROOMS", "fits", "walk"]
FLAGS = (f"-DMEM_PAGE={PAGE}", "-DMARKS_BRIEF")
RULES = ("tiling", "tags", "adjacent_free")
