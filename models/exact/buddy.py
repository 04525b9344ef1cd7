"""The exact model of buddy: predicts every address and the whole layout from its header alone.

It is not a transcription of buddy.c: each region is a sorted list of blocks, found by plain scans;
it has no table of states, no lists of free blocks, and computes no buddy by exclusive or.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from models.contract import Contract
from models.exact.model import ExactModel, store_of
from models.exact.store import PAGE, Store, up
from models.observation import Run
from models.trace import Trace

SMALLEST = 5
SMALLEST_REGION = 14
PAGE_ORDER = 12
REGION_HEADER = 40


@dataclass(eq=False)
class Block:
    """One block of 2^order bytes at offset `payload` from the base.

    `freed` counts up with every block that becomes free; None while the block is used.
    """

    payload: int
    order: int
    freed: int | None = None

    @property
    def usable(self) -> int:
        """Bytes of the block, all of them payload."""
        return 1 << self.order

    @property
    def end(self) -> int:
        """Offset of the first byte behind the block."""
        return self.payload + self.usable


@dataclass(eq=False)
class Region:
    """2^order bytes of blocks from `start`; `mapping` is where its pages begin."""

    mapping: int
    start: int
    order: int
    blocks: list[Block] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Offset of the first byte behind its blocks and its pages."""
        return self.start + (1 << self.order)

    @property
    def wholly_free(self) -> bool:
        """It is one free block."""
        return len(self.blocks) == 1 and self.blocks[0].freed is not None


def order_of(size: int) -> int:
    """The order of block that a request of `size` bytes needs."""
    return max(SMALLEST, (size - 1).bit_length()) if size else SMALLEST


class Exact(ExactModel):
    """buddy as its header tells it."""

    def __init__(self, contract: Contract, store: Store, base: int = 0) -> None:
        super().__init__(contract, store, base)
        self.regions: list[Region] = []  # from the lowest up
        self._frees = 0

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up: (offset, size, used)."""
        return [(block.payload, block.usable, int(block.freed is None)) for block in self._blocks()]

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> Block | None:
        """By size; see PLACEMENT."""
        return self._allocate(order_of(size), order_of(size), 1)

    def allocate_aligned(self, alignment: int, size: int) -> Block | None:
        """At a power of two; see ALIGNED ALLOCATION."""
        least = max(order_of(size), min(order_of(alignment), PAGE_ORDER))
        return self._allocate(order_of(size), least, alignment)

    def resize(self, block: Block, size: int) -> Block | None:
        """In place or moved; see RESIZING."""
        order = order_of(size)
        if order <= block.order:
            return self._split(block, order)
        if self._grow_in_place(block, order):
            return block
        return self.move(block, size)

    def release(self, block: Block) -> None:
        """Frees, and merges buddies as far as it goes; see FREEING."""
        region = self._region(block)
        self._free(block)
        while (buddy := self._buddy(region, block)) and self._like(buddy, block.order):
            block = self._merge(region, *sorted((block, buddy), key=lambda each: each.payload))
        others = (each for each in self.regions if each is not region)
        if region.wholly_free and any(each.wholly_free for each in others):
            self._give_back(region)

    # Blocks -------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[Block]:
        for region in self.regions:
            yield from region.blocks

    def _allocate(self, order: int, least: int, alignment: int) -> Block | None:
        while True:
            free = [
                block
                for block in self._blocks()
                if block.freed is not None
                and block.order >= least
                and (self.base + block.payload) % alignment == 0
            ]
            if free:
                block = min(free, key=lambda each: (each.order, -each.freed))
                block.freed = None
                return self._split(block, order)
            if not self._grow(least, max(alignment, PAGE)):
                return None

    def _split(self, block: Block, order: int) -> Block:
        """Cuts a used block down to `order`; the upper halves become free."""
        blocks = self._region(block).blocks
        while block.order > order:
            block.order -= 1
            upper = Block(block.end, block.order)
            blocks.insert(blocks.index(block) + 1, upper)
            self._free(upper)
        return block

    def _free(self, block: Block) -> None:
        self._frees += 1
        block.freed = self._frees

    def _merge(self, region: Region, lower: Block, upper: Block) -> Block:
        """Two halves become one block, which is as used as the lower one, or newly free."""
        region.blocks.remove(upper)
        lower.order += 1
        if lower.freed is not None:
            self._free(lower)
        return lower

    def _buddy(self, region: Region, block: Block) -> Block | None:
        """What starts where the block's other half starts, None for a whole region."""
        if block.order == region.order:
            return None
        halves = block.payload - region.start >> block.order
        payload = block.payload + (-block.usable if halves % 2 else block.usable)
        return next(each for each in region.blocks if each.payload == payload)

    @staticmethod
    def _like(block: Block, order: int) -> bool:
        return block.freed is not None and block.order == order

    def _grow_in_place(self, block: Block, order: int) -> bool:
        """Takes the free upper halves up to `order`, all or none."""
        region = self._region(block)
        if order > region.order or (block.payload - region.start) % (1 << order):
            return False
        at = region.blocks.index(block) + 1
        halves = region.blocks[at : at + order - block.order]
        if [each.order for each in halves if each.freed] != list(range(block.order, order)):
            return False
        for half in halves:
            self._merge(region, block, half)
        return True

    # Regions ------------------------------------------------------------------------------

    def _region(self, block: Block) -> Region:
        return next(each for each in self.regions if each.start <= block.payload < each.end)

    def _grow(self, needed: int, alignment: int) -> bool:
        """Asks for a region, a lower one each time it is refused; see GROWTH."""
        smallest = max(needed, SMALLEST_REGION)
        held = sum(1 << region.order for region in self.regions)
        for order in range(max(smallest, held.bit_length() - 1), smallest - 1, -1):
            if self._map(order, alignment):
                return True
        spare = next((region for region in self.regions if region.wholly_free), None)
        if spare is None:
            return False
        self._give_back(spare)
        return self._map(smallest, alignment)

    def _map(self, order: int, alignment: int) -> bool:
        lead = up(REGION_HEADER + (1 << order - SMALLEST), PAGE)
        size = lead + (1 << order) + alignment - PAGE
        mapping = self.store.map(size)
        if mapping is None:
            return False
        start = up(self.base + mapping + lead, alignment) - self.base
        region = Region(mapping, start, order, [Block(start, order)])
        self.store.unmap(region.end, mapping + size - region.end)
        self._free(region.blocks[0])
        self.regions.append(region)
        self.regions.sort(key=lambda each: each.start)
        return True

    def _give_back(self, region: Region) -> None:
        self.store.unmap(region.mapping, region.end - region.mapping)
        self.regions.remove(region)


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)
