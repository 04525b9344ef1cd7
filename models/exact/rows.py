"""What the exact models of rows of tagged blocks share: splitting, merging, growing, resizing.

It chooses no block and keeps no free structure: each allocator's own model says which block serves
a request.  A sorted list of blocks and linear scans, no tags, no pointers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from models.contract import Contract
from models.exact.block import Block
from models.exact.model import ExactModel
from models.exact.store import Store, up

TAG = 8
STEP = 16
SMALLEST = 32
GROWTH = 4096
FENCES = 32


@dataclass(eq=False)
class RowBlock(Block):
    """A block between two tags.

    `freed` tells free blocks apart by age: the larger, the later the block came to be free.
    """

    HEAD = TAG
    FOOT = TAG

    freed: int = 0


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return max(SMALLEST, up(size + 2 * TAG, STEP))


class Rows(ExactModel):
    """A heap that is one row of blocks, as the headers of the allocators tell it."""

    kind: type[RowBlock] = RowBlock
    ends = FENCES  # bytes below the first block and in the last line of new memory

    def __init__(self, contract: Contract, store: Store, base: int = 0) -> None:
        super().__init__(contract, store, base)
        self.limit = 0  # offset of the first byte behind the memory granted last
        self.blocks: list[RowBlock] = []
        self._frees = 0

    @abstractmethod
    def fit(self, needed: int) -> RowBlock | None:
        """The free block of at least `needed` bytes that is chosen; see PLACEMENT."""

    def need(self, size: int) -> int:
        """Bytes of block that a request of `size` bytes needs."""
        return block_size(size)

    def asked(self, needed: int) -> int:
        """Bytes that a free block must have for a search to find it."""
        return needed

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up, gaps among them: (offset of the header, size, used)."""
        return [(block.start, block.size, int(block.used)) for block in self.blocks]

    def free(self) -> list[RowBlock]:
        """The free blocks, from the lowest up."""
        return [block for block in self.blocks if not block.used]

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> RowBlock | None:
        """By size; see PLACEMENT and GROWTH."""
        block = self._find(self.need(size))
        return block and self._take(block, self.need(size))

    def allocate_aligned(self, alignment: int, size: int) -> RowBlock | None:
        """At a power of two; see ALIGNED ALLOCATION."""
        if alignment <= STEP:
            return self.allocate(size)
        lower = self._find(self.need(size) + alignment + STEP)
        if lower is None:
            return None
        room = -(self.base + lower.payload) % alignment
        while 0 < room < SMALLEST:
            room += alignment
        if not room:
            return self._take(lower, self.need(size))
        lower.used = True
        block = self._take(self._split(lower, room), self.need(size))
        self.release(lower)
        return block

    def resize(self, block: RowBlock, size: int) -> RowBlock | None:
        """In place or moved; see RESIZING."""
        needed = self.need(size)
        upper = self._upper(block)
        spare = upper.size if upper and not upper.used else 0
        if block.size + spare < needed:
            return self.move(block, size)
        if spare:
            self.join(block, upper)
        return self._take(block, needed)

    # Blocks -------------------------------------------------------------------------------

    def _find(self, needed: int) -> RowBlock | None:
        """A free block of `needed` bytes; the heap grows if it must."""
        needed = self.asked(needed)
        while True:
            block = self.fit(needed)
            if block or not self._grow(needed):
                return block

    def _take(self, block: RowBlock, needed: int) -> RowBlock:
        """Uses the lower part of `block`; frees the rest if it makes a block."""
        block.used = True
        if block.size - needed >= SMALLEST:
            self.release(self._split(block, needed))
        return block

    def _split(self, block: RowBlock, size: int) -> RowBlock:
        """Cuts `block` after `size` bytes and returns the upper part, as used as it was."""
        rest = self.kind(block.start + size, block.size - size, block.used)
        block.size = size
        self.blocks.insert(self.blocks.index(block) + 1, rest)
        return rest

    def release(self, block: RowBlock) -> None:
        """Frees and merges both ways at once."""
        block.used = False
        index = self.blocks.index(block)
        for low in (index, index - 1):
            if 0 <= low < len(self.blocks) - 1:
                lower, upper = self.blocks[low : low + 2]
                if not lower.used and not upper.used:
                    self.join(lower, upper)
                    block = lower
        self._frees += 1
        block.freed = self._frees

    def join(self, lower: RowBlock, upper: RowBlock) -> None:
        """Makes two neighbours one block: the lower one, which is as used as it was."""
        lower.size += upper.size
        self.blocks.remove(upper)

    def _upper(self, block: RowBlock) -> RowBlock | None:
        index = self.blocks.index(block) + 1
        return self.blocks[index] if index < len(self.blocks) else None

    # Growth -------------------------------------------------------------------------------

    def _grow(self, needed: int) -> bool:
        """Asks once for what is missing; False when refused."""
        missing = needed
        if not self.blocks:
            missing += self.ends
        elif not self.blocks[-1].used:
            missing -= self.blocks[-1].size
        size = up(missing, GROWTH)
        start = self.store.grow(size)
        if start is None:
            return False
        self._append(start, start + size)
        return True

    def _append(self, start: int, end: int) -> None:
        """New memory [start, end): the last whole 16-byte line of it holds the upper fence."""
        fence = end // STEP * STEP - TAG
        first = up(start, STEP) + TAG
        if self.blocks:
            old_fence = self.blocks[-1].end
            if start == self.limit:
                first = old_fence
            else:
                self.blocks.append(self.kind(old_fence, first - old_fence, True))
        self.limit = end
        block = self.kind(first, fence - first, True)
        self.blocks.append(block)
        self.release(block)
