"""The layout invariant of first_fit.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

HEADER = '#include "first_fit.h"'
FIELDS = ("first", "rows", "open")
HEAD, RECORD, GRAIN, SMALLEST = 40, 24, 16, 48
ROOMS = (((), ()), ((0,), ()), ((271,), ()), ((120, 0), ()), ((120, 88), ()))
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
    """The blocks of a row; returns where the last one's link lies, and that block."""
    below_used = True
    while at != end:
        heap.word(link, [at], "tiling")
        size = heap.word(at, heap.between(SMALLEST, end - at, GRAIN), "tiling")
        heap.word(at + 16, [previous], "tags")
        used = heap.word(at + 24, [0, 1], "tags") == 1
        heap.word(at + 32, [at], "tags")
        heap.need("adjacent_free", "two neighbours are both free", used | below_used)
        heap.block(at + HEAD, size - HEAD, used)
        link, previous, at, below_used = at + 8, at, at + size, used
    return link, previous


def fits(heap, size, alignment):
    """A free block holds the request and the room below its payload: FIT RELATION."""
    for block in heap.blocks:
        room = -block.payload % max(alignment, GRAIN)
        room += alignment if 0 < room < SMALLEST else 0
        if not block.used and SMALLEST + room <= block.usable + HEAD:
            yield size + room <= block.usable
