"""The layout invariant of sbrk_list.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                True where the host has no more, and once more where others took what lies behind
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.windows import by_verb, large_enough, stays

HEADER = '#include "sbrk_list.h"'
FIELDS = ("first", "row", "top", "limit")
HEAD, GRAIN, SMALLEST, USED = 16, 16, 32, 1
ROOMS = (
    ((), ()),
    ((0,), ()),
    ((96,), ()),
    ((160,), (), True),
    ((55,), ()),
    ((48, 32), ()),
    ((48, 0), ()),
    ((64,), (), False, True),
)
QUICK = (((), ()), ((0,), ()), ((64,), ()), ((32, 32), ()))


def walk(heap):
    """The list of all blocks, row by row: it leads from each to the next one up."""
    if not heap.rows:
        for name in FIELDS:
            heap.field(name, [0], "tiling")
        return
    starts = [(start + GRAIN - 1) & -GRAIN for start, _ in heap.rows]
    ends = [start + size for start, size in heap.rows]
    heap.field("row", [heap.rows[-1][0]], "tiling")
    heap.field("limit", ends[-1:], "tiling")
    room = starts[-1] < ends[-1]
    top = heap.field(
        "top", heap.between(starts[-1], ends[-1], GRAIN) if room else starts[-1:], "tiling"
    )
    link = heap.address("first")
    for index, at in enumerate(starts[:-1]):
        link = walk_lower(heap, link, at, ends[index], [*starts[index + 1 :], 0])
    at = starts[-1]
    while at != top:
        heap.word(link, [at], "tiling")
        at, link = walk_block(heap, at, top)
    heap.word(link, [0], "tiling")


def walk_lower(heap, link, at, end, elsewhere):
    """The blocks of a row that is not the last: they may end before it does."""
    while at + SMALLEST <= end and heap.word(link, [at, *elsewhere], "tiling") == at:
        at, link = walk_block(heap, at, end)
    return link


def walk_block(heap, at, end):
    """One block; returns where it ends, and where its link lies."""
    tag = heap.word(at, heap.between(SMALLEST, end - at, GRAIN, also=(0, USED)), "tiling")
    size = tag & ~USED
    heap.block(at + HEAD, size - HEAD, (tag & USED) == USED)
    return at + size, at + 8


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py.

    The order of a window, unless its highest block is H: what comes beyond a gap, or nothing.
    """
    for index, (at, end) in enumerate(heap.runs):
        while True:
            at, link = walk_block(heap, at, end)
            if at == end:
                break
            heap.word(link, [at], "tiling")
        if index == 0:
            last = link
    if heap.letters[-1] == "H":
        heap.beside(last, 1, 0, "tiling")
    else:
        (above,) = heap.visited()
        heap.word(last, [0 if above is None else above], "tiling")


FREED = tuple(
    ("U" + free + above, high)
    for free in ("", "F", "FF")
    for above, high in (("", "-"), ("", "B"), ("H", ""))
)
FOUND = (("F", "-"), ("F", "B"), ("FH", ""))
GRID = (0, GRAIN, SMALLEST)
SEARCHES = {"take": large_enough(HEAD), "give_back_above": stays}
WINDOWS = by_verb(FREED, FOUND)


def fits(heap, size, alignment):
    """Free blocks that follow each other hold the request: sbrk_list.h, FIT RELATION."""
    extra = 0 if alignment <= GRAIN else alignment + GRAIN
    run = end = 0
    for block in heap.blocks:
        have = block.usable + HEAD
        run = 0 if block.used else have + (run if block.payload - HEAD == end else 0)
        end = block.payload + block.usable
        if SMALLEST + extra <= run:
            yield size + HEAD + extra <= run
