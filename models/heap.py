"""The reference heap: the blocks that are live, by name, as an outsider knows them.

The dumbest correct thing: it places nothing and predicts nothing, it only remembers what was
granted, so it fits any allocator.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from models.trace import Kind, Op


@dataclass(frozen=True, slots=True)
class Block:
    """A block that was granted; sizes in bytes.

    `span` is how many bytes belong to nobody else: the requested size, the usable size where all
    of it may be written, 1 for a block of 0 bytes that is promised to be one of its own, else 0.
    `made` is the index of the operation that made it.
    """

    name: int
    address: int
    size: int
    usable: int = 0
    span: int = 0
    kind: Kind = Kind.MALLOC
    made: int = 0

    @property
    def end(self) -> int:
        """The first address past the block's span."""
        return self.address + self.span


class Heap:
    """The live blocks by name, in the order in which they were granted.

    `granted` holds every block ever granted (names are made once), `kept` the names of live
    blocks that a failed realloc left in place.
    """

    def __init__(self) -> None:
        self.live: dict[int, Block] = {}
        self.granted: dict[int, Block] = {}
        self.kept: set[int] = set()
        self._order: list[tuple[int, int]] = []

    def grant(self, block: Block) -> None:
        """The block is live from here on, whether or not it shares bytes with others."""
        self.live[block.name] = self.granted[block.name] = block
        if block.span:
            insort(self._order, (block.address, block.name))

    def free(self, name: int) -> Block | None:
        """The block is dead from here on; returns what it was, None if it was dead already."""
        block = self.live.pop(name, None)
        self.kept.discard(name)
        if block is not None and block.span:
            del self._order[bisect_left(self._order, (block.address, block.name))]
        return block

    def free_all(self) -> None:
        """Nothing is live from here on."""
        self.live.clear()
        self.kept.clear()
        self._order.clear()

    def release(self, op: Op, granted: bool, realloc_zero: str) -> None:
        """What `op` does to the blocks there were, once it has come back.

        `granted` says whether it gave a block; `realloc_zero` is the contract's promise.
        """
        if op.kind is Kind.FREE_ALL:
            self.free_all()
        elif op.kind is Kind.FREE:
            self.free(op.first)
        elif op.kind is Kind.REALLOC and op.first in self.live:
            if granted or (not op.size and realloc_zero in ("free", "unique")):
                self.free(op.first)
            elif op.size:
                self.kept.add(op.first)

    def sharing(self, address: int, span: int) -> Block | None:
        """A live block that shares a byte with `span` bytes at `address`, the lower one of two.

        Certain to find one as long as the live blocks share nothing among themselves.
        """
        if not span:
            return None
        place = bisect_left(self._order, (address, -1))
        for _, name in self._order[max(place - 1, 0) : place + 1]:
            block = self.live[name]
            if block.address < address + span and address < block.end:
                return block
        return None

    def at(self, address: int) -> Block | None:
        """The live block that `address` belongs to."""
        return self.sharing(address, 1)
