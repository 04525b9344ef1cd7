"""The layout invariant of tlsf.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS           two second-level classes a power of two, to have fewer lists to look at
MOST            the largest request
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                True where the host has no more, and once more where others took what lies behind
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.windows import by_verb, large_enough, rows

HEADER = '#include "tlsf.h"'
FIELDS = ("first", "end", "limit", "first_map", "second_map", "lists")
FLAGS = ("-DTLSF_SECOND_BITS=1",)
HEAD, GRAIN, SMALLEST, FREE, BELOW_FREE = 8, 16, 32, 1, 2
SECONDS, LEVELS = 2, 60
LINEAR = GRAIN * SECONDS
REACH = 11  # first levels below this one may have members: blocks of less than 2^15 bytes
MOST = 2**7 - 1  # larger requests are not made: each class is a path of its own
ROOMS = (
    ((), ()),
    ((64,), ()),
    ((176,), (), True),
    ((72,), (), True),
    ((64, 48), (), True),
    ((64,), (), False, True),
)
QUICK = (((), ()), ((64,), (), True), ((80,), (), True))


def least(first, second):
    """The least size of a class: tlsf.h, CLASSES."""
    if first == 0:
        return second * GRAIN
    return (SECONDS + second) * (LINEAR // SECONDS << (first - 1))


def walk(heap):
    """The rows from the lowest block up, then the lists of all classes, then their maps."""
    free = []
    if heap.rows:
        walk_rows(heap, free)
    else:
        for name in ("first", "end", "limit"):
            heap.field(name, [0], "tiling")
    first_map = 0
    for first in range(REACH):
        second_map = sum(
            walk_list(heap, free, first, second) << second for second in range(SECONDS)
        )
        heap.word(heap.address("second_map") + 2 * first, [second_map], "free_list", size=2)
        first_map |= (1 if second_map else 0) << first
    heap.field("first_map", [first_map], "free_list")
    heap.need("free_list", "a free block is in no list", not free)
    above = LEVELS - REACH  # what is too large for this memory has no member
    heap.zeros(heap.address("second_map") + 2 * REACH, 2 * above, "free_list")
    lists = heap.address("lists") + 8 * SECONDS * REACH
    heap.zeros(lists, 8 * SECONDS * above, "free_list")


def walk_rows(heap, free):
    """The blocks of all rows; what lies between two is a used block that is nobody's."""
    starts = [((at + GRAIN - 1) & -GRAIN) + HEAD for at, _ in heap.rows]
    fences = [((at + size) & -GRAIN) - HEAD for at, size in heap.rows]
    heap.field("first", starts[:1], "tiling")
    heap.field("end", fences[-1:], "tiling")
    heap.field("limit", [heap.rows[-1][0] + heap.rows[-1][1]], "tiling")
    for index, (start, fence) in enumerate(zip(starts, fences, strict=True)):
        below_free = walk_row(heap, start, fence, free)
        last = index + 1 == len(starts)
        gap = 0 if last else starts[index + 1] - fence
        heap.word(fence, [gap | below_free], "tags")


def walk_row(heap, at, end, free):
    """The blocks of a row; returns what the fence must say of the last one."""
    below_free = 0
    while at != end:
        right = (FREE | below_free, below_free)
        flags = (*right, *(flag ^ BELOW_FREE for flag in right))
        head = heap.word(at, heap.between(SMALLEST, end - at, GRAIN, also=flags), "tiling")
        heap.need("tags", "B is wrong of the block below", (head & BELOW_FREE) == below_free)
        is_free, size = bool((head & FREE) == FREE), head & ~(FREE | BELOW_FREE)
        heap.need("adjacent_free", "two neighbours are both free", not (is_free and below_free))
        if is_free:
            heap.word(at + size - 8, [at], "tags")
            free.append((at + HEAD, size))
        heap.block(at + HEAD, size - HEAD, not is_free)
        at, below_free = at + size, BELOW_FREE if is_free else 0
    return below_free


def walk_list(heap, free, first, second):
    """The list of a class: free blocks of it, linked both ways; says whether it has any.

    Takes its members out of `free`: those of a size that is known must all be there.
    """
    low, high = least(first, second), least(first + (second + 1) // SECONDS, (second + 1) % SECONDS)
    head = heap.address("lists") + 8 * (SECONDS * first + second)
    link, previous = head, 0
    while True:
        own = [one for one in free if not isinstance(one[1], int) or low <= one[1] < high]
        nodes = [node for node, _ in own]
        due = any(isinstance(size, int) for _, size in own)
        node = heap.word(link, nodes if due else [*nodes, 0], "free_list")
        if isinstance(node, int) and node == 0:
            return link is not head
        block = own[heap.which(nodes, node)]
        size = block[1]
        heap.need("free_list", "a list has a block of another class", (low <= size) & (size < high))
        heap.word(node + 8, [previous], "free_list")
        del free[next(index for index, one in enumerate(free) if one is block)]
        link = previous = node


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py."""
    free = []
    (start, end), *_ = heap.runs
    below_free = walk_row(heap, start, end, free)
    heap.beside(end, GRAIN, below_free, "tags")
    heap.members([(payload - HEAD, size) for payload, size in free], "free_list")


def class_above(_heap, need):
    """What class_up promises: no less than is needed, and most is found for the least."""
    yield need, True


GRID = (HEAD, GRAIN, SMALLEST)
SEARCHES = {"good_fit": large_enough(HEAD), "class_up": class_above}
INDEX = {"link_free": (True, 1), "unlink_free": (False, 1)}
WINDOWS = by_verb(rows("U", "UF", "FU", "FUF"), rows("F"))


def fits(heap, size, alignment):
    """A free block's class holds the request: tlsf.h, FIT RELATION."""
    extra = 0 if alignment <= GRAIN else alignment + GRAIN
    classes = [least(first, second) for first in range(REACH) for second in range(SECONDS)]
    for block in heap.blocks:
        have = max(low for low in classes if low <= block.usable + HEAD)
        if not block.used and SMALLEST + extra <= have:
            yield size + HEAD + extra <= have
