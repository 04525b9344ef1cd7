"""Windows: the parts of a heap that an operation touches, whatever the rest of it is.

A window is (blocks, order).  `blocks` has a letter for each of a few blocks that follow each other,
U for a used one, H for a used one that no operation is about, F for a free one.  `order` says how a
list or pointers visit them: a digit is the block of that number, `b` a free block somewhere else,
`B` a used one, `-` nothing, `.` any number of free blocks, none too, that are not looked at.  What
is promised of functions that are not executed is here too, where several allocators have the same.
It says nothing of any allocator's words.
"""

from itertools import permutations, product

FRONT = ("", "b", "b.b")  # the list's first block, and the one before that of the window
BETWEEN = ("", "b", "b.b")
BEHIND = ("", "b.")


def orders(inner):
    """Every order of a list through the free blocks `inner`, with the head and all neighbours.

    Where the list goes on without an end that is seen, nobody needs to know whether it does.
    """
    if not inner:
        yield from ("", "b.")
        return
    for visited in permutations(inner):
        for front, behind in product(FRONT, BEHIND):
            for gaps in product(BETWEEN, repeat=len(visited) - 1):
                pairs = zip(gaps, visited[1:], strict=True)
                middle = "".join(gap + block for gap, block in pairs)
                yield front + visited[0] + middle + behind


def listed(*rows):
    """Windows of these blocks, with every order of a list through the free ones."""
    for blocks in rows:
        free = [str(index) for index, letter in enumerate(blocks) if letter == "F"]
        for order in orders(free):
            yield blocks, order


def rows(*rows):
    """Windows of these blocks, where no list visits any."""
    return ((blocks, "") for blocks in rows)


def visited(*rows):
    """Windows of these blocks, with a pointer to nothing, to each of them, or to one elsewhere."""
    for blocks in rows:
        for order in ("", *map(str, range(len(blocks))), "b"):
            yield blocks, order


def by_verb(freed, found):
    """WINDOWS of what is freed, which is also resized in its place, and of what a search finds."""
    freed, found = tuple(freed), tuple(found)
    return {"free": freed, "malloc": found, "realloc": freed, "aligned_alloc": found}


def large_enough(head):
    """Promised of a search: it finds the free block of the window, where that is large enough.

    `head` bytes lie below its payload.  A resize finds nothing in its window: one that moves is a
    request and a free.
    """

    def found(heap, _heap, need):
        for block in heap.blocks if "U" not in heap.letters else ():
            if not block.used:
                yield block.payload - head, need <= block.usable + head

    return found


def stays(_heap, *_arguments):
    """Promised of what gives memory back: that it does not.  It is no window, as growth is none."""
    yield 0, True


def in_a_row(heap, *_arguments):
    """Promised of the search for the row of a block: there is one, and nobody looks into it."""
    yield heap.blocks[0].payload, True
