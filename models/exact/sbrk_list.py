"""The exact model of sbrk_list: predicts every address and the whole layout from its header alone.

It is not a transcription of sbrk_list.c: a sorted Python list of blocks, no headers, no links.  It
judges nothing; models/judge.py compares its predictions with what was seen.
"""

from __future__ import annotations

from models.contract import Contract
from models.exact.block import Block
from models.exact.model import ExactModel, store_of
from models.exact.store import Store, up
from models.observation import Run
from models.trace import Trace

HEADER = 16
STEP = 16
SMALLEST = 32


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return max(SMALLEST, up(size, STEP) + HEADER)


class Exact(ExactModel):
    """sbrk_list as its header tells it.

    `row` is the offset where the page source began the last row, `limit` that of the first byte
    behind the memory granted last; they are the same while the row is empty.
    """

    def __init__(self, contract: Contract, store: Store, base: int = 0) -> None:
        super().__init__(contract, store, base)
        self.row = 0
        self.limit = 0
        self.blocks: list[Block] = []

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up: (offset of the header, size, used)."""
        return [(block.start, block.size, int(block.used)) for block in self.blocks]

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> Block | None:
        """By size; see PLACEMENT and GROWTH."""
        block = self._find(block_size(size))
        return block and self._take(block, block_size(size))

    def allocate_aligned(self, alignment: int, size: int) -> Block | None:
        """At a power of two; see ALIGNED ALLOCATION."""
        if alignment <= STEP:
            return self.allocate(size)
        block = self._find(block_size(size) + alignment + STEP)
        if block is None:
            return None
        below = -(self.base + block.payload) % alignment
        while 0 < below < SMALLEST:
            below += alignment
        if below:
            block = self._split(block, below)
        self._take(block, block_size(size))
        self._give_back_above(block)
        return block

    def resize(self, block: Block, size: int) -> Block | None:
        """In place or moved; see RESIZING."""
        needed = block_size(size)
        if block.size + sum(upper.size for upper in self._free_run(block)) < needed:
            return self.move(block, size)
        self._absorb(block)
        self._take(block, needed)
        self._give_back_above(block)
        return block

    def release(self, block: Block) -> None:
        """Marked free; see GIVING BACK."""
        block.used = False
        self._give_back_above(block)

    # Blocks -------------------------------------------------------------------------------

    def _find(self, needed: int) -> Block | None:
        """The lowest free block of `needed` bytes, merged on the way; the heap grows if it must."""
        for block in list(self.blocks):
            if block.used or block not in self.blocks:
                continue
            self._absorb(block)
            if block.size >= needed:
                return block
        return self._append(needed)

    def _free_run(self, block: Block) -> list[Block]:
        """The free blocks that follow `block` without a gap."""
        run: list[Block] = []
        end = block.end
        for upper in self.blocks[self.blocks.index(block) + 1 :]:
            if upper.used or upper.start != end:
                break
            run.append(upper)
            end = upper.end
        return run

    def _absorb(self, block: Block) -> None:
        for upper in self._free_run(block):
            block.size += upper.size
            self.blocks.remove(upper)

    def _take(self, block: Block, needed: int) -> Block:
        """Uses the lower part of `block`; the rest is free if it makes a block."""
        block.used = True
        if block.size - needed >= SMALLEST:
            self._split(block, needed).used = False
        return block

    def _split(self, block: Block, size: int) -> Block:
        """Cuts `block` after `size` bytes and returns the upper part, as used as it was."""
        rest = Block(block.start + size, block.size - size, block.used)
        block.size = size
        self.blocks.insert(self.blocks.index(block) + 1, rest)
        return rest

    # The break ----------------------------------------------------------------------------

    def _top(self) -> int:
        """Where the next block begins."""
        last = self.blocks[-1].end if self.blocks else 0
        return max(up(self.row, STEP), last)

    def _append(self, needed: int) -> Block | None:
        """A new free block at the end; None when refused, and then nothing of it is kept."""
        while self._top() + needed > self.limit:
            missing = self._top() + needed - self.limit
            start = self.store.grow(missing)
            if start is None:
                self._give_back()
                return None
            if start != self.limit:
                self.row = start
            self.limit = start + missing
        block = Block(self._top(), needed, False)
        self.blocks.append(block)
        return block

    def _give_back_above(self, block: Block) -> None:
        """The same, unless a used block lies above `block`, which may have left free memory."""
        if not any(upper.used for upper in self.blocks[self.blocks.index(block) + 1 :]):
            self._give_back()

    def _give_back(self) -> None:
        """Lowers the break as far as nothing used lies above in the last row."""
        kept = list(self.blocks)
        while kept and not kept[-1].used and kept[-1].start >= self.row:
            kept.pop()
        end = max([self.row, *(block.end for block in kept[-1:])])
        if end < self.limit and self.store.shrink(self.limit - end):
            self.blocks = kept
            self.limit = end


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)
