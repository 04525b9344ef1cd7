"""The exact model of mmap_heap: predicts every address and the whole layout from its header alone.

It is not a transcription of mmap_heap.c: regions that are sorted Python lists of blocks, no
headers, no links.  It judges nothing; models/judge.py compares its predictions with what was seen.
"""

from __future__ import annotations

from models.contract import Contract
from models.exact.block import Block
from models.exact.model import ExactModel, store_of
from models.exact.store import PAGE, Store, up
from models.observation import Run
from models.trace import Trace

HEADER = 16
STEP = 16
SMALLEST = 32
REGION_HEADER = 16
REGION = 16384
FIRST_REGION = 3000  # what the variant `initialised` starts with


class Region:
    """One mapped region: `start` is its offset from the base, `size` counts its header."""

    def __init__(self, start: int, size: int) -> None:
        self.start = start
        self.size = size
        self.blocks = [Block(start + REGION_HEADER, size - REGION_HEADER, False)]

    @property
    def is_empty(self) -> bool:
        """Nothing in it is used."""
        return not any(block.used for block in self.blocks)

    def upper(self, block: Block) -> Block | None:
        """The upper neighbour if it is free, else None."""
        index = self.blocks.index(block) + 1
        above = self.blocks[index] if index < len(self.blocks) else None
        return above if above and not above.used else None

    def join(self, lower: Block, upper: Block) -> None:
        """Makes two neighbours one block, as used as the lower one."""
        lower.size += upper.size
        self.blocks.remove(upper)

    def split(self, block: Block, size: int) -> Block:
        """Cuts `block` after `size` bytes and returns the upper part, a free block."""
        rest = Block(block.start + size, block.size - size, False)
        block.size = size
        self.blocks.insert(self.blocks.index(block) + 1, rest)
        return rest

    def take(self, block: Block, needed: int) -> Block:
        """Uses the lower part of `block`; the rest is free if it makes a block."""
        block.used = True
        if block.size - needed >= SMALLEST:
            self.split(block, needed)
        return block

    def merge(self) -> None:
        """Joins all free neighbours."""
        for block in list(self.blocks):
            while block in self.blocks and not block.used and self.upper(block):
                self.join(block, self.upper(block))


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return max(SMALLEST, up(size, STEP) + HEADER)


class Exact(ExactModel):
    """mmap_heap as its header tells it; `first` is what mem_initialise was told, 0 for mem_open."""

    def __init__(self, contract: Contract, store: Store, base: int = 0, first: int = 0) -> None:
        super().__init__(contract, store, base)
        self.regions: list[Region] = []
        if first:
            self._map(up(first, PAGE))

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up: (offset of the header, size, used)."""
        blocks = [block for region in self.regions for block in region.blocks]
        return [(block.start, block.size, int(block.used)) for block in blocks]

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> Block | None:
        """By size; see PLACEMENT and GROWTH."""
        block = self._find(block_size(size))
        return block and self._region(block).take(block, block_size(size))

    def allocate_aligned(self, alignment: int, size: int) -> Block | None:
        """At a power of two; see ALIGNED ALLOCATION."""
        if alignment <= STEP:
            return self.allocate(size)
        block = self._find(block_size(size) + alignment + STEP)
        if block is None:
            return None
        region = self._region(block)
        below = -(self.base + block.payload) % alignment
        while 0 < below < SMALLEST:
            below += alignment
        if below:
            block = region.split(block, below)
        return region.take(block, block_size(size))

    def resize(self, block: Block, size: int) -> Block | None:
        """In place or moved; see RESIZING."""
        needed = block_size(size)
        region = self._region(block)
        upper = region.upper(block)
        if block.size + (upper.size if upper else 0) < needed:
            return self.move(block, size)
        if upper:
            region.join(block, upper)
        return region.take(block, needed)

    def release(self, block: Block) -> None:
        """Frees and merges; see GIVING BACK."""
        region = self._region(block)
        block.used = False
        region.merge()
        if region.is_empty:
            self._give_back()

    # Regions ------------------------------------------------------------------------------

    def _region(self, block: Block) -> Region:
        return next(region for region in self.regions if block in region.blocks)

    def _find(self, needed: int) -> Block | None:
        """The lowest free block of `needed` bytes; a region is mapped if there is none."""
        while True:
            for region in self.regions:
                for block in region.blocks:
                    if not block.used and block.size >= needed:
                        return block
            if not self._grow(needed):
                return None

    def _grow(self, needed: int) -> bool:
        least = up(REGION_HEADER + needed, PAGE)
        return self._map(max(REGION, least)) or (least < REGION and self._map(least))

    def _map(self, size: int) -> bool:
        start = self.store.map(size)
        if start is None:
            return False
        self.regions.append(Region(start, size))
        self.regions.sort(key=lambda region: region.start)
        return True

    def _give_back(self) -> None:
        for region in self.regions:
            if region.is_empty:
                self.store.unmap(region.start, region.size)
        self.regions = [region for region in self.regions if not region.is_empty]


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)


def predict_initialised(trace: Trace, run: Run, contract: Contract) -> Exact:
    """The same for the variant that starts by mem_initialise."""
    return Exact(contract, store_of(trace, run), run.base, FIRST_REGION)
