"""The layout invariant of first_fit.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                False where the host has more, True where others took what lies behind
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.windows import by_verb, in_a_row, stays

HEADER = '#include "first_fit.h"'
FIELDS = ("first", "rows", "open")
HEAD, RECORD, GRAIN, SMALLEST = 40, 24, 16, 48
ROOMS = (
    ((), ()),
    ((0,), ()),
    ((271,), ()),
    ((120, 0), ()),
    ((120, 88), ()),
    ((120,), (), False, True),
)
QUICK = (((), ()), ((0,), ()), ((120,), ()), ((72, 0), ()))


def walk(heap):
    """The rows' records, the newest first, and the list of all blocks, from the lowest up."""
    rows = [
        ((start + GRAIN - 1) & -GRAIN, start, start + size) for start, size in heap.rows if size
    ]
    open_row = bool(heap.rows) and bool(heap.rows[-1][1])
    heap.field("open", [int(open_row)], "tiling")
    link = heap.address("rows")
    for record, start, limit in reversed(rows):
        heap.word(link, [record], "tiling")
        heap.word(record + 8, [start], "tiling")
        heap.word(record + 16, [limit], "tiling")
        link = record
    heap.word(link, [0], "tiling")
    link, previous = heap.address("first"), 0
    for record, _, limit in rows:
        end = limit - ((limit - RECORD) & (GRAIN - 1))
        link, previous = walk_row(heap, record + RECORD, end, link, previous)
    heap.word(link, [0], "tiling")


def walk_row(heap, at, end, link, previous):
    """The blocks of a row; returns where the last one's link lies, and that block.

    Without a `link`, what leads to the lowest block and from it down is the caller's business.
    """
    below_used = True
    while at != end:
        if link is not None:
            heap.word(link, [at], "tiling")
            heap.word(at + 16, [previous], "tags")
        size = heap.word(at, heap.between(SMALLEST, end - at, GRAIN), "tiling")
        used = heap.word(at + USED_AT, [0, 1], "tags") == 1
        heap.word(at + 32, [at], "tags")
        heap.need("adjacent_free", "two neighbours are both free", used | below_used)
        heap.block(at + HEAD, size - HEAD, used)
        link, previous, at, below_used = at + 8, at, at + size, used
    return link, previous


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py.

    The order of a window: what comes below where its lowest block is U, above unless its highest
    is H; elsewhere, in another row, or nothing.
    """
    ends = iter(heap.visited())
    start, end = heap.runs[0]
    if heap.letters[0] == "U":
        below = next(ends)
        heap.word(start + 16, [0 if below is None else below], "tags")
        if below is not None:
            heap.word(below + 8, [start], "tiling")
    else:
        heap.beside(start + 16, 1, 0, "tags")
    link, last = walk_row(heap, start, end, None, None)
    for other, stop in heap.runs[1:]:
        walk_row(heap, other, stop, None, None)
    if heap.letters[-1] == "H":
        heap.beside(link, 1, 0, "tiling")
        return
    above = next(ends)
    heap.word(link, [0 if above is None else above], "tiling")
    if above is not None:
        heap.word(above + 16, [last], "tags")


def found(heap, _heap, alignment, need):
    """What first_fit promises: the free block of the window, where request and room fit into it.

    A resize finds nothing in its window: one that moves is a request and a free.
    """
    for block in heap.blocks if "U" not in heap.letters else ():
        if not block.used:
            size = block.usable + HEAD
            room = (0 - block.payload) & (alignment - 1)
            exact = ((room == 0) | (room >= SMALLEST)) & (room <= size) & (need <= size - room)
            room = room + alignment
            more = (room < alignment + SMALLEST) & (room <= size) & (need <= size - room)
            yield block.payload - HEAD, exact | (more & ~(room == alignment))


LOWER = (("", "-"), ("", "B"), ("H", ""), ("F", ""))
UPPER = (("", "-"), ("", "B"), ("H", ""), ("F", "-"), ("F", "B"), ("FH", ""))
FREED = tuple((below + "U" + above, low + high) for below, low in LOWER for above, high in UPPER)
FOUND = tuple(("F" + above, high) for above, high in UPPER[:3])
GRID = (RECORD % GRAIN, GRAIN, SMALLEST)
USED_AT = 24
SEARCHES = {"first_fit": found, "row_of": in_a_row, "give_back": stays}
WINDOWS = by_verb(FREED, FOUND)


def fits(heap, size, alignment):
    """A free block holds the request and the room below its payload: FIT RELATION."""
    for block in heap.blocks:
        room = -block.payload % max(alignment, GRAIN)
        room += alignment if 0 < room < SMALLEST else 0
        if not block.used and SMALLEST + room <= block.usable + HEAD:
            yield size + room <= block.usable
