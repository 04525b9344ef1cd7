"""Blocks between fences, as parts/boundary_tags.h lays them: what the walks of such heaps share.

It knows nothing of how free blocks are found.
"""

TAG, GRAIN, SMALLEST, USED = 8, 16, 32, 1


def walk_rows(heap, merged):
    """Every row from the lowest up; returns where each block begins, and which of them are free.

    What somebody else holds between two rows is a used block that is nobody's.
    """
    if not heap.rows:
        for name in ("first", "end", "limit"):
            heap.field(name, [0], "tiling")
        return [], []
    lines = [((at + GRAIN - 1) & -GRAIN, (at + size) & -GRAIN) for at, size in heap.rows]
    first = heap.field("first", [lines[0][0] + TAG], "tiling")
    heap.field("end", [lines[-1][1] - TAG], "tiling")
    heap.field("limit", [heap.rows[-1][0] + heap.rows[-1][1]], "tiling")
    heap.word(first - TAG, [USED], "tags")
    blocks, free = [], []
    for index, (start, stop) in enumerate(lines):
        walk_row(heap, start + TAG, stop - TAG, merged, blocks, free)
        gap = 0 if index + 1 == len(lines) else lines[index + 1][0] + 2 * TAG - stop
        heap.word(stop - TAG, [gap | USED], "tags")
        if index + 1 < len(lines):
            heap.word(lines[index + 1][0], [gap | USED], "tags")
    return blocks, free


def walk_row(heap, at, end, merged, blocks, free):
    """The blocks between two fences."""
    below_used = True
    while at != end:
        tag = heap.word(at, heap.between(SMALLEST, end - at, GRAIN, also=(0, USED)), "tiling")
        used = (tag & USED) == USED
        size = tag & ~USED
        heap.word(at + size - TAG, [tag], "tags")
        if merged:
            heap.need("adjacent_free", "two neighbours are both free", used | below_used)
        heap.block(at + TAG, size - 2 * TAG, used)
        blocks.append(at)
        if not used:
            free.append(at)
        at, below_used = at + size, bool(used)


def walk_runs(heap, merged):
    """The runs of blocks of a window, and the tags around them; as walk_rows."""
    blocks, free = [], []
    start, end = heap.runs[0]
    for beside in (start - TAG, end):
        heap.word(beside, heap.between(0, heap.LARGEST, GRAIN, also=(USED,)), "tags")
    for start, end in heap.runs:
        walk_row(heap, start, end, merged, blocks, free)
    return blocks, free


def found(heap, _heap, need):
    """What find_fit promises: the free block that is the window, where that is large enough.

    A resize finds nothing in its window: one that moves is a request and a free.
    """
    if len(heap.blocks) == 1 and not heap.blocks[0].used:
        (block,) = heap.blocks
        yield block.payload - TAG, need <= block.usable + 2 * TAG


def fits_in(blocks, size, alignment, joined=False):
    """A free block holds the request, or, where free neighbours are joined first, a run of them."""
    extra = 0 if alignment <= GRAIN else alignment + GRAIN
    run = end = 0
    for block in blocks:
        have = block.usable + 2 * TAG
        run = 0 if block.used else have + (run if joined and block.payload == end else 0)
        end = block.payload + have
        if SMALLEST + extra <= run:
            yield size + 2 * TAG + extra <= run
