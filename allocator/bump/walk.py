"""The layout invariant of bump.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS, PAGE     pages of 32 bytes and arenas of four of them: a block more or less is a page more
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

HEADER = '#include "bump.h"'
FIELDS = ("newest",)
ARENA, HEAD, GRAIN, SMALLEST, USED = 32, 16, 16, 32, 1
PAGE = 32
FLAGS = (f"-DMEM_PAGE={PAGE}",)
ROOMS = (((), ()), ((), (192,)), ((), (96, 64)))
QUICK = (((), ()), ((), (96,)), ((), (64, 64)))


def walk(heap):
    """The arenas from the lowest of the stack up: what is mapped last is on top."""
    below = 0
    for start, size in heap.maps:
        newest = start is heap.maps[-1][0]
        walk_arena(heap, start, start + size, below, newest)
        below = start
    heap.field("newest", [below], "tiling")


def walk_arena(heap, start, end, below, newest):
    """An arena's header and its blocks; the room above them is shown as a free block."""
    heap.word(start, [below], "tiling")
    heap.word(start + 24, [end], "tiling")
    current = heap.word(start + 16, heap.between(start + ARENA, end, GRAIN), "tiling")
    at, last, used = start + ARENA, 0, False
    while at != current:
        tag = heap.word(at, heap.between(GRAIN, current - at, GRAIN, also=(0, USED)), "tiling")
        size, used = tag & ~USED, (tag & USED) == USED
        small = "a used block is smaller than any can be"
        heap.need("tiling", small, ((tag & USED) != USED) | (size >= SMALLEST))
        heap.word(at + 8, [last], "tags")
        heap.block(at + HEAD, size - HEAD, used)
        at, last = at + size, at
    heap.word(start + 8, [last], "tags")
    if newest:
        heap.need("adjacent_free", "what lies below the room is free", used)
    heap.block(current, end - current, False)


def fits(heap, size, alignment):
    """The room of the newest arena holds the request and what its alignment leaves out: FIT."""
    room = heap.blocks[-1] if heap.blocks else None
    if room is not None:
        payload = room.payload + HEAD
        extra = -payload % max(alignment, GRAIN)
        if SMALLEST + extra <= room.usable:
            yield size + HEAD + extra <= room.usable
