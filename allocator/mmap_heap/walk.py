"""The layout invariant of mmap_heap.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS, PAGE     pages of 32 bytes, and regions of four of them
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

HEADER = '#include "mmap_heap.h"'
FIELDS = ("regions",)
HEAD, GRAIN, SMALLEST, USED = 16, 16, 32, 1
PAGE = 32
FLAGS = (f"-DMEM_PAGE={PAGE}",)
ROOMS = (((), ()), ((), (192,)), ((), (64, 64)))
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
    below, below_used = 0, True
    while at != end:
        tag = heap.word(at, heap.between(SMALLEST, end - at, GRAIN, also=(0, USED)), "tiling")
        used = (tag & USED) == USED
        size = tag & ~USED
        heap.word(at + 8, [below], "tags")
        heap.need("adjacent_free", "two neighbours are both free", used | below_used)
        heap.block(at + HEAD, size - HEAD, used)
        at, below, below_used = at + size, at, used


def fits(heap, size, alignment):
    """A free block holds the request: mmap_heap.h, FIT RELATION."""
    extra = 0 if alignment <= GRAIN else alignment + GRAIN
    for block in heap.blocks:
        have = block.usable + HEAD
        if not block.used and SMALLEST + extra <= have:
            yield size + HEAD + extra <= have
