"""The layout invariant of buddy.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS, PAGE     pages of 32 bytes, and a smallest region of 64
MOST            the largest request
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

HEADER = '#include "buddy.h"'
FIELDS = ("regions", "free")
PAGE, FIRST, LEAST, RECORD, TABLE, USED, ORDERS = 32, 6, 5, 40, 36, 0x80, 64
FLAGS = (f"-DMEM_PAGE={PAGE}", f"-DBUDDY_FIRST={FIRST}")
REACH = 15  # blocks of this order and more do not fit into this memory
MOST = 2**8 - 1  # larger requests are not made: each order is a path of its own
ROOMS = (((), ()), ((), (192, 160)), ((), (224,)))
QUICK = (((), ()), ((), (192,)))


def lead(order):
    """Bytes from a region's header to its start."""
    return -(-(RECORD + (1 << (order - LEAST))) // PAGE) * PAGE


def walk(heap):
    """The regions from the lowest up, then the list of each order."""
    free = {order: [] for order in range(REACH)}
    link = heap.address("regions")
    for mapping, size in heap.maps:
        orders = {}
        for order in range(FIRST, REACH):
            if lead(order) + (1 << order) <= size:
                orders[order] = mapping + size - (1 << order) - lead(order)
        region = heap.word(link, list(orders.values()), "tiling")
        order = heap.word(region + 32, list(orders), "tiling", size=4)
        heap.need("tiling", "a region ends elsewhere than its mapping", orders[order] == region)
        start = region + lead(order)
        heap.word(region + 8, [start], "tiling")
        heap.word(region + 16, [mapping], "tiling")
        heap.word(region + 24, [size], "tiling")
        walk_region(heap, region + TABLE, start, order, free)
        link = region
    heap.word(link, [0], "tiling")
    lists = heap.address("free")
    for order in range(LEAST, REACH):
        walk_list(heap, lists + 8 * order, free[order])
    heap.zeros(lists, 8 * LEAST, "free_list")
    heap.zeros(lists + 8 * REACH, 8 * (ORDERS - REACH), "free_list")


def walk_region(heap, table, start, order, free):
    """The table byte by byte: the order of the block that starts there, 0 where none does."""
    own, offset = set(), 0
    while offset < 1 << order:
        can = [k for k in range(LEAST, order + 1) if offset % (1 << k) == 0]
        states = [*can, *(k | USED for k in can)]
        state = heap.word(table + (offset >> LEAST), states, "tiling", size=1)
        k, used = state & ~USED, bool(state & USED)
        for within in range((offset >> LEAST) + 1, (offset + (1 << k)) >> LEAST):
            heap.word(table + within, [0], "tags", size=1)
        heap.block(start + offset, 1 << k, used)
        if not used:
            both = (offset ^ (1 << k), k) in own
            heap.need("adjacent_free", "two buddies are both free", not both)
            own.add((offset, k))
            free[k].append(start + offset)
        offset += 1 << k


def walk_list(heap, link, left):
    """The list holds each free block of its order once, linked both ways."""
    previous = 0
    while left:
        node = heap.word(link, left, "free_list")
        heap.word(node + 8, [previous], "free_list")
        left = heap.without(left, node)
        previous, link = node, node
    heap.word(link, [0], "free_list")


def fits(heap, size, alignment):
    """A free block is large enough and lies right: buddy.h, PLACEMENT and ALIGNED ALLOCATION."""
    for block in heap.blocks:
        right = block.payload % alignment == 0 and block.usable >= min(alignment, PAGE)
        if not block.used and right:
            yield size <= block.usable
