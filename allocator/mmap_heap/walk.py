"""The layout invariant of mmap_heap.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS, PAGE     pages of 32 bytes, and regions of four of them
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                True where the host has no more
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.windows import by_verb, large_enough, stays

HEADER = '#include "mmap_heap.h"'
FIELDS = ("regions",)
HEAD, GRAIN, SMALLEST, USED = 16, 16, 32, 1
PAGE = 32
FLAGS = (f"-DMEM_PAGE={PAGE}",)
ROOMS = (
    ((), ()),
    ((), (192,), True),
    ((), (128,)),
    ((), (64, 64)),
)
QUICK = (((), ()), ((), (64,)), ((), (64, 64)))


def walk(heap):
    """The regions from the lowest up, each linked to the next."""
    link = heap.address("regions")
    for start, size in heap.maps:
        heap.word(link, [start], "tiling")
        heap.word(start + 8, [size], "tiling")
        walk_region(heap, start + HEAD, start + size)
        link = start
    heap.word(link, [0], "tiling")


def walk_region(heap, at, end):
    """The blocks fill the region; each knows the one below it."""
    if at != end:
        heap.word(at + 8, [0], "tags")
        walk_blocks(heap, at, end)


def walk_blocks(heap, at, end):
    """Blocks that follow each other; of the lowest the word that leads down is the caller's."""
    below_used = True
    while True:
        tag = heap.word(at, heap.between(SMALLEST, end - at, GRAIN, also=(0, USED)), "tiling")
        used = (tag & USED) == USED
        size = tag & ~USED
        heap.need("adjacent_free", "two neighbours are both free", used | below_used)
        heap.block(at + HEAD, size - HEAD, used)
        at, below, below_used = at + size, at, used
        if at == end:
            return
        heap.word(at + 8, [below], "tags")


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py.

    The order of a window: the lowest block of the region, and `-` where it ends with the window.
    """
    (start, end), *others = heap.runs
    lowest, *ends = heap.visited()
    size = heap.beside(lowest - HEAD + 8, GRAIN, 0, "tiling")
    limit = lowest - HEAD + size
    heap.need("tiling", "a region ends where it should not", limit == end if ends else limit > end)
    if others:
        heap.beside(start + 8, GRAIN, 0, "tags")
    else:
        heap.word(start + 8, [0], "tags")
    walk_blocks(heap, start, end)
    for low, high in others:
        heap.need("tiling", "a region's lowest block is above another", high < start)
        walk_blocks(heap, low, high)


def own_region(heap, _heap, _block):
    """What region_of promises: all blocks of a window lie in one region."""
    yield heap.visited()[0] - HEAD, True


LOWER = (("", "0"), *((below, low) for below in "HF" for low in "0Bb"))
UPPER = (("", "-"), ("H", ""), ("F", "-"), ("FH", ""))
FREED = tuple((below + "U" + above, low + end) for below, low in LOWER for above, end in UPPER)
FOUND = tuple((blocks, low + end) for low in "0Bb" for blocks, end in (("F", "-"), ("FH", "")))
GRID = (0, GRAIN, SMALLEST)
SEARCHES = {"first_fit": large_enough(HEAD), "region_of": own_region, "give_back": stays}
WINDOWS = by_verb(FREED, FOUND)


def fits(heap, size, alignment):
    """A free block holds the request: mmap_heap.h, FIT RELATION."""
    extra = 0 if alignment <= GRAIN else alignment + GRAIN
    for block in heap.blocks:
        have = block.usable + HEAD
        if not block.used and SMALLEST + extra <= have:
            yield size + HEAD + extra <= have
