"""The exact model of best_fit: predicts every address and the whole layout from its header alone.

It is not a transcription of best_fit.c: sorted lists of blocks and plain scans, no tree, no flags,
no checksums.  It judges nothing; models/judge.py compares its predictions with what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.contract import Contract
from models.exact.block import Block
from models.exact.model import ExactModel, store_of
from models.exact.store import PAGE, Store, up
from models.observation import Run
from models.trace import Trace

HEADER = 16
STEP = 16
SMALLEST = 48
THRESHOLD = 32768
ROW_START, FENCE = 16, 16
REGION_START = 32


@dataclass(eq=False)
class Row:
    """What the page source granted without a break: `blocks` from the lowest up."""

    blocks: list[RowBlock] = field(default_factory=list)


@dataclass(eq=False)
class RowBlock(Block):
    """A block of a row."""

    row: Row = field(default_factory=Row)


@dataclass(eq=False)
class Region:
    """A large block: pages of its own, its payload `lead` bytes behind where they start."""

    start: int
    lead: int
    size: int
    used: bool = True

    @property
    def payload(self) -> int:
        """Offset of the payload from the base."""
        return self.start + self.lead

    @property
    def usable(self) -> int:
        """Bytes of the payload."""
        return self.size - self.lead


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return max(SMALLEST, up(size + HEADER, STEP))


def is_large(size: int) -> bool:
    """Whether a request of `size` bytes is served by a region."""
    return block_size(size) >= THRESHOLD


class Exact(ExactModel):
    """best_fit as its header tells it."""

    def __init__(self, contract: Contract, store: Store, base: int = 0) -> None:
        super().__init__(contract, store, base)
        self.rows: list[Row] = []
        self.top: Row | None = None  # the row that new memory may follow on
        self.top_start = 0  # offset of the memory that it lies in
        self.limit = 0  # offset of the first byte behind that memory
        self.regions: list[Region] = []

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks and regions from the lowest up: (offset, size, used)."""
        blocks = [block for row in self.rows for block in row.blocks]
        whole = sorted([*blocks, *self.regions], key=lambda each: each.start)
        return [(each.start, each.size, int(each.used)) for each in whole]

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> RowBlock | Region | None:
        """By size: at an alignment that every block has."""
        return self.allocate_aligned(STEP, size)

    def allocate_aligned(self, alignment: int, size: int) -> RowBlock | Region | None:
        """At a power of two; see PLACEMENT, ALIGNED ALLOCATION and REGIONS."""
        if is_large(size):
            return self._map(max(alignment, STEP), size)
        if alignment <= STEP:
            block = self._find(block_size(size))
            return block and self._take(block, block_size(size))
        lower = self._find(block_size(size) + alignment + SMALLEST - STEP)
        if lower is None:
            return None
        room = -(self.base + lower.payload) % alignment
        while 0 < room < SMALLEST:
            room += alignment
        lower.used = True
        if not room:
            return self._take(lower, block_size(size))
        block = self._take(self._split(lower, room), block_size(size))
        self._free(lower)
        return block

    def resize(self, block: RowBlock | Region, size: int) -> RowBlock | Region | None:
        """In place or moved; see RESIZING."""
        if isinstance(block, Region):
            return self._resize_region(block, size)
        upper = self._upper(block)
        spare = upper.size if upper and not upper.used else 0
        if is_large(size) or block.size + spare < block_size(size):
            return self.move(block, size)
        if spare:
            self._join(block, upper)
        return self._take(block, block_size(size))

    def release(self, block: RowBlock | Region) -> None:
        """Unmaps a region; frees a row's block, and gives the top row back if it can."""
        if isinstance(block, Region):
            self.regions.remove(block)
            self.store.unmap(block.start, block.size)
            return
        self._free(block)
        top = self.top
        is_free = top is not None and [each.used for each in top.blocks] == [False]
        if is_free and self.store.shrink(self.limit - self.top_start):
            self.rows.remove(top)
            self.top = None

    # Regions ------------------------------------------------------------------------------

    def _map(self, alignment: int, size: int) -> Region | None:
        most = up(max(REGION_START, alignment) + size, PAGE)
        start = self.store.map(most)
        if start is None:
            return None
        lead = REGION_START + -(self.base + start + REGION_START) % alignment
        region = Region(start, lead, most)
        self._cut(region, size)
        self.regions.append(region)
        return region

    def _resize_region(self, region: Region, size: int) -> RowBlock | Region | None:
        moved = None if is_large(size) else self.move(region, size)
        if moved is not None:
            return moved
        if not self._extend(region, size):
            return self.move(region, size) if is_large(size) else None
        self._cut(region, size)
        return region

    def _extend(self, region: Region, size: int) -> bool:
        """Whether the region spans what `size` bytes need, or can be made to."""
        wanted = up(region.lead + max(size, 1), PAGE)
        if wanted > region.size:
            if not self.store.extend(region.start, region.size, wanted):
                return False
            region.size = wanted
        return True

    def _cut(self, region: Region, size: int) -> None:
        """Gives back the pages that `size` bytes leave."""
        wanted = up(region.lead + max(size, 1), PAGE)
        self.store.unmap(region.start + wanted, region.size - wanted)
        region.size = wanted

    # Blocks -------------------------------------------------------------------------------

    def _find(self, needed: int) -> RowBlock | None:
        """The smallest free block of `needed` bytes, lowest first; the heap grows if it must."""
        while True:
            free = (block for row in self.rows for block in row.blocks if not block.used)
            enough = [block for block in free if block.size >= needed]
            if enough:
                return min(enough, key=lambda block: (block.size, block.start))
            if not self._grow(needed):
                return None

    def _take(self, block: RowBlock, needed: int) -> RowBlock:
        """Uses the lower part of `block`; frees the rest if it makes a block."""
        block.used = True
        if block.size - needed >= SMALLEST:
            self._free(self._split(block, needed))
        return block

    def _split(self, block: RowBlock, size: int) -> RowBlock:
        """Cuts `block` after `size` bytes and returns the upper part, as used as it was."""
        rest = RowBlock(block.start + size, block.size - size, block.used, block.row)
        block.size = size
        block.row.blocks.insert(block.row.blocks.index(block) + 1, rest)
        return rest

    def _free(self, block: RowBlock) -> None:
        """Merges both ways at once."""
        block.used = False
        blocks = block.row.blocks
        index = blocks.index(block)
        for low in (index, index - 1):
            if 0 <= low < len(blocks) - 1:
                lower, upper = blocks[low : low + 2]
                if not lower.used and not upper.used:
                    self._join(lower, upper)

    def _join(self, lower: RowBlock, upper: RowBlock) -> None:
        lower.size += upper.size
        lower.row.blocks.remove(upper)

    def _upper(self, block: RowBlock) -> RowBlock | None:
        index = block.row.blocks.index(block) + 1
        return block.row.blocks[index] if index < len(block.row.blocks) else None

    # Growth -------------------------------------------------------------------------------

    def _grow(self, needed: int) -> bool:
        """Asks once for what is missing; False when refused."""
        missing = needed
        if self.top is None:
            missing += ROW_START + FENCE
        elif not self.top.blocks[-1].used:
            missing -= self.top.blocks[-1].size
        size = up(missing, PAGE)
        start = self.store.grow(size)
        if start is None:
            return False
        if self.top is None or start != self.limit:
            self.top = Row()
            self.rows.append(self.top)
            self.top_start = start
        self.limit = start + size
        self._append(self.top)
        return True

    def _append(self, row: Row) -> None:
        """Makes the row, which may have no block yet, reach up to `limit`."""
        first = up(self.top_start, STEP) + ROW_START
        start = row.blocks[-1].end if row.blocks else first
        block = RowBlock(start, self.limit // STEP * STEP - FENCE - start, row=row)
        row.blocks.append(block)
        self._free(block)


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)
