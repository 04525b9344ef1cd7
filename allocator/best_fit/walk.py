"""The layout invariant of best_fit.h, word by word.

STRUCT, FIELDS  of the heap structure, what the walk reads
FLAGS, PAGE     pages of 128 bytes, and regions for blocks of 256 and more
ROOMS, QUICK    the memories of the proof: bytes of each row below the break, of each mapping;
                True where the host has no more, and once more where others took what lies behind
walk(heap)      every word that a valid heap must get right, and what it may hold
fits(...)       when a request is served without new pages
"""

from allocator.parts.windows import by_verb, in_a_row, large_enough, rows, stays

HEADER = '#include "best_fit.h"'
FIELDS = ("pages", "tree", "rows", "top_row", "start", "limit", "regions")
HEAD, GRAIN, SMALLEST, RECORD = 16, 16, 48, 32
USED, BELOW_FREE, REGION = 1, 2, 4
PAGE, LARGE = 128, 256
FLAGS = (f"-DMEM_PAGE={PAGE}", f"-DBEST_FIT_THRESHOLD={LARGE}")
ROOMS = (
    ((), ()),
    ((0,), ()),
    ((272,), (), True),
    ((128,), ()),
    ((80, 0), (128,)),
    ((80, 88), ()),
    ((80, 96, 96, 96), ()),
    ((80,), (), False, True),
    ((), (128, 128)),
    ((), (256,)),
)
QUICK = (((), ()), ((0,), ()), ((80,), ()), ((), (128,)))


def walk(heap):
    """The rows, the regions, the tree."""
    free = walk_rows(heap)
    walk_regions(heap)
    _, left = walk_tree(heap, heap.address("tree"), free, None, None)
    heap.need("free_list", "a free block is not in the tree", not left)


def header(heap, at, words, rule):
    """A header's size and flags, which its checksum seals; returns them."""
    word = heap.word(at + 8, words, rule)
    heap.sealed(at, "checksum_of", [heap.address("pages"), at, word], "checksum")
    return word


def walk_rows(heap):
    """The rows from the lowest up; the last is the top row unless it was given back."""
    rows = [
        ((at + GRAIN - 1) & -GRAIN, ((at + size) & -GRAIN) - HEAD) for at, size in heap.rows if size
    ]
    top = bool(heap.rows) and bool(heap.rows[-1][1])
    heap.field("top_row", [rows[-1][0] if top else 0], "tiling")
    if top:
        heap.field("start", [heap.rows[-1][0]], "tiling")
        heap.field("limit", [heap.rows[-1][0] + heap.rows[-1][1]], "tiling")
    else:
        heap.any_field("start")
        heap.any_field("limit")
    link, free = heap.address("rows"), []
    for row, fence in rows:
        heap.word(link, [row], "tiling")
        heap.word(row + 8, [fence], "tiling")
        walk_row(heap, row + GRAIN, fence, free)
        link = row
    heap.word(link, [0], "tiling")
    return free


def walk_row(heap, at, fence, free):
    """The blocks of a row, and the fence."""
    below_free = walk_blocks(heap, at, fence, free)
    header(heap, fence, [USED | below_free], "tags")


def walk_blocks(heap, at, fence, free):
    """The blocks up to there; returns what the header there must say of the last one."""
    below_free = 0
    while at != fence:
        right = (below_free, USED | below_free)
        flags = (*right, *(flag ^ BELOW_FREE for flag in right))
        word = header(heap, at, heap.between(SMALLEST, fence - at, GRAIN, also=flags), "tiling")
        heap.need("tags", "a flag is wrong of the block below", (word & BELOW_FREE) == below_free)
        used, size = bool((word & USED) == USED), word & -GRAIN
        heap.need("adjacent_free", "two neighbours are both free", used or not below_free)
        if not used:
            heap.word(at + size - 8, [size], "tags")
            free.append((at, size))
        heap.block(at + HEAD, size - HEAD, used)
        at, below_free = at + size, 0 if used else BELOW_FREE
    return below_free


def walk_regions(heap):
    """The regions from the lowest up: each a used block, behind what its alignment left out."""
    link = heap.address("regions")
    for start, size in heap.maps:
        low, high = start + RECORD, start + size - GRAIN
        payload = (
            heap.word(link, heap.between(low - RECORD, high - RECORD, GRAIN), "tiling") + RECORD
        )
        heap.word(payload - RECORD + 8, [payload - start], "tiling")
        header(heap, payload - HEAD, [size | USED | REGION], "tags")
        heap.block(payload, start + size - payload, True)
        link = payload - RECORD
    heap.word(link, [0], "tiling")


def before(one, other):
    """The order of the tree: by size, and among equals by address."""
    (at, size), (beyond, most) = one, other
    return (size < most) | ((size == most) & (at < beyond))


def walk_tree(heap, link, left, low, high):
    """A subtree between two blocks; returns its height, and what of `left` is not in it."""
    node = heap.word(link, [0, *(at for at, _ in left)], "free_list")
    if isinstance(node, int) and node == 0:
        return 0, left
    block = left[heap.which([at for at, _ in left], node)]
    right = low is None or before(low, block)
    heap.need("free_list", "the tree is out of order", right)
    right = high is None or before(block, high)
    heap.need("free_list", "the tree is out of order", right)
    left = [one for one in left if one is not block]
    below, left = walk_tree(heap, node + 16, left, low, block)
    above, left = walk_tree(heap, node + 24, left, block, high)
    heap.need("free_list", "the tree is out of balance", abs(below - above) <= 1)
    heap.word(node + 32, [max(below, above) + 1], "free_list")
    return max(below, above) + 1, left


def window(heap):
    """What an operation touches of a heap of any size; WINDOWS: see parts/windows.py."""
    heap.field("tree", [0], "free_list")  # what it leads to is the business of INDEX
    free = []
    (start, end), *_ = heap.runs
    below_free = walk_blocks(heap, start, end, free)
    word = heap.beside(end + 8, GRAIN, USED | below_free, "tags")
    heap.sealed(end, "checksum_of", [heap.address("pages"), end, word], "checksum")
    heap.members(free, "free_list")


def nothing(_heap, *_arguments):
    """A region is no window: no operation goes on from here."""
    return ()


GRID = (0, GRAIN, SMALLEST)
SIZE_AT = 8
SEARCHES = {
    "tree_fit": large_enough(HEAD),
    "row_of": in_a_row,
    "give_back": stays,
    "map_region": nothing,
}
INDEX = {"tree_insert": (True, 1), "tree_remove": (False, 1)}
WINDOWS = by_verb(rows("U", "UF", "FU", "FUF"), rows("F"))


def fits(heap, size, alignment):
    """A free block holds the request, if it is not large: best_fit.h, FIT RELATION."""
    extra = 0 if alignment <= GRAIN else alignment + 2 * GRAIN
    for block in heap.blocks:
        have = block.usable + HEAD
        if not block.used and SMALLEST + extra <= have:
            yield (size + HEAD + extra <= have) & (size <= LARGE - 2 * GRAIN)
