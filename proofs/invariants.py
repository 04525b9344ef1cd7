"""The invariants of a boundary-tag heap with a free list, as explicit_list.h states them.

Written once, over plain integers and z3 terms alike; how the blocks were found is not their
business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proofs.logic import Number, Truth, at_most, equal, every, is_aligned, one_of

TAG, GRAIN, SMALLEST, USED = 8, 16, 32, 1
LINKS_AT = {"next": 8, "previous": 16}


@dataclass(frozen=True)
class RowBlock:
    """A block met on the way up: its header's address, both tags; `used` is plain."""

    address: Number
    header: Number
    footer: Number
    used: bool

    @property
    def size(self) -> Number:
        """The header's size in bytes."""
        return self.header - USED if self.used else self.header


@dataclass(frozen=True)
class FreeNode:
    """A node met along the free list, with its backward link."""

    address: Number
    previous: Number


@dataclass(frozen=True)
class Row:
    """A heap as seen: its blocks from the lowest up, and its free list from the head on.

    `list_end` is the link after the last node followed; the walk follows as many nodes as there
    are free blocks.
    """

    end: Number
    fence_below: Number
    fence_above: Number
    blocks: Sequence[RowBlock]
    nodes: Sequence[FreeNode]
    list_end: Number


Conjunct = tuple[str, str, Truth]

TILING = ("a block's size cannot be", "a block passes the fence")
TAGS = ("header and footer disagree", "a fence does not say used")
ADJACENT = ("two neighbours are both free",)
FREE_LIST = (
    "a node of the free list is no free block",
    "a backward link of the free list is wrong",
    "the free list does not end after its last free block",
)


def block_conjuncts(block: RowBlock, end: Number) -> Iterator[Conjunct]:
    """What must hold of one block before the walk may step over it."""
    possible = every(is_aligned(block.size, GRAIN), at_most(SMALLEST, block.size))
    yield "tiling", TILING[0], possible
    yield "tiling", TILING[1], at_most(block.size, end - block.address)
    yield "tags", TAGS[0], equal(block.header, block.footer)


def row_conjuncts(row: Row) -> Iterator[Conjunct]:
    """What must hold of the row as a whole, the blocks' own conjuncts aside."""
    fences = every(equal(row.fence_below, USED), equal(row.fence_above, USED))
    yield "tags", TAGS[1], fences
    pairs = zip(row.blocks, row.blocks[1:], strict=False)
    merged = not any(not lower.used and not upper.used for lower, upper in pairs)
    yield "adjacent_free", ADJACENT[0], merged
    free = [block.address for block in row.blocks if not block.used]
    previous: Number = 0
    for node in row.nodes:
        yield "free_list", FREE_LIST[0], one_of(node.address, free)
        yield "free_list", FREE_LIST[1], equal(node.previous, previous)
        previous = node.address
    # As many nodes as free blocks, each pointing back to the one before: all distinct, so all.
    yield "free_list", FREE_LIST[2], equal(row.list_end, 0)


def all_conjuncts(row: Row) -> Iterator[Conjunct]:
    """Every conjunct of a heap: the validity predicate."""
    for block in row.blocks:
        yield from block_conjuncts(block, row.end)
    yield from row_conjuncts(row)
