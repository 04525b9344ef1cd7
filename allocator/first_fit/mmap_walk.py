"""The layout invariant of first_fit.h on mapped regions, word by word: page_source_mapped.h.

Each row has a region to itself, of one mapping or of several that touch.  The newest row's region
is the page source's as long as the row is open; of any other the whole unused pages are unmapped.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS, PAGE     pages of 32 bytes: a mapping of one real page has too many heaps
JOINED          one call unmaps pages of several mappings
RULES           what is claimed; the last two are what walk_row looks at
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                False where the host has more, True where others took what lies behind
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.first_fit.walk import FIELDS, GRAIN, HEADER, RECORD, SMALLEST, fits, walk_row

__all__ = ["FIELDS", "HEADER", "fits", "walk"]
PAGE = 32
FLAGS = (f"-DMEM_PAGE={PAGE}",)
JOINED = True
RULES = ("tiling", "tags", "adjacent_free")
START, END, LIMIT = 48, 56, 64  # in the page source, behind its five functions and the one below
ROOMS = (
    ((), ()),
    ((), (96,)),
    ((), (96,), False, True),
    ((), (96, 64)),
    ((), (96, 96)),
    ((), (192,)),
)
QUICK = (((), ()), ((), (96,)))


def walk(heap):
    """The rows' records, what the page source keeps, and the list of all blocks."""
    rows = [Row(heap, *row) for row in with_regions(heap, records(heap))]
    walk_source(heap, rows)
    link, previous = heap.address("first"), 0
    for row in rows:
        stop = row.limit - ((row.limit - RECORD) & (GRAIN - 1))
        link, previous = walk_row(heap, row.start + RECORD, stop, link, previous)
    heap.word(link, [0], "tiling")


def records(heap):
    """Which mappings rows begin with, as places in heap.maps: the newest row is the highest."""
    found, link, below = [], heap.address("rows"), [start for start, _ in heap.maps]
    while True:
        among = [0, *below]
        record = heap.word(link, among, "tiling")
        chosen = heap.which(among, record)
        if not chosen:
            return found[::-1]
        found.append(chosen - 1)
        link, below = record, below[: chosen - 1]


def with_regions(heap, begun):
    """(start, region's end) of each row: its mappings touch, and there is none that is no row's."""
    starts, ends = [], []
    for index, (start, size) in enumerate(heap.maps):
        if index in begun:
            starts.append(start)
            ends.append(start + size)
        else:
            heap.need("tiling", "a mapping is no row's", bool(ends) and start == ends[-1])
            ends[-1] = start + size
    return zip(starts, ends, strict=True)


class Row:
    """A row's record: where it begins, where its memory and its region end."""

    def __init__(self, heap, start, end):
        heap.word(start + 8, [start], "tiling")
        among = heap.between(start + RECORD + SMALLEST, end, GRAIN, also=(0, GRAIN - 1))
        self.start, self.end = start, end
        self.limit = heap.word(start + 16, among, "tiling")
        heap.need("tiling", "a row is longer than its region", self.limit <= end)


def walk_source(heap, rows):
    """The open row's region is the page source's; others keep no page that they do not use."""
    at, _ = heap.places.variable("mapped")
    newest = [rows[-1].start] if rows else []
    kept = heap.word(at + START, [0, *newest], "tiling")
    is_open = heap.which([0, *newest], kept) == 1
    heap.field("open", [int(is_open)], "tiling")
    heap.word(at + END, [rows[-1].limit if is_open else 0], "tiling")
    heap.word(at + LIMIT, [rows[-1].end if is_open else 0], "tiling")
    for row in rows[:-1] if is_open else rows:
        heap.need("tiling", "an unused page is still mapped", row.end - row.limit < PAGE)
