"""The exact model of first_fit: predicts every address and the whole layout from its header alone.

It is not a transcription of first_fit.c: rows are lists of blocks, nothing is linked, no header has
an address in it.  It judges nothing; models/judge.py compares its predictions with what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.contract import PTRDIFF_MAX, Contract
from models.exact.block import Block
from models.exact.model import ExactModel, store_of
from models.exact.store import PAGE, Store, up
from models.observation import Run
from models.trace import Trace

HEADER = 40
STEP = 16
SMALLEST = 48
RECORD = 24
REGION_STEP = 4 * PAGE


@dataclass(eq=False)
class WideBlock(Block):
    """A block whose header has five words."""

    HEAD = HEADER

    used: bool = False


@dataclass(eq=False)
class Row:
    """Memory from `start` to `limit` (offsets as granted), tiled by blocks from the lowest up."""

    start: int
    limit: int
    blocks: list[Block] = field(default_factory=list)


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return up(size + HEADER, STEP)


def most_room(alignment: int) -> int:
    """The most bytes that an alignment can leave below its payload."""
    return alignment + 2 * STEP if alignment > STEP else 0


class Exact(ExactModel):
    """first_fit as its header tells it, on any pages with a grow and a shrink."""

    def __init__(
        self, contract: Contract, store: Store, base: int = 0, pages: Pages | None = None
    ) -> None:
        super().__init__(contract, store, base)
        self.pages: Pages = pages or store
        self.rows: list[Row] = []
        self.open: Row | None = None

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up: (offset of the header, size, used)."""
        blocks = [block for row in self.rows for block in row.blocks]
        return [(block.start, block.size, int(block.used)) for block in blocks]

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> Block | None:
        """By size; see PLACEMENT."""
        return self.allocate_aligned(STEP, size)

    def allocate_aligned(self, alignment: int, size: int) -> Block | None:
        """At a power of two; see ALIGNED ALLOCATION."""
        alignment, needed = max(alignment, STEP), block_size(size)
        while (found := self._find(alignment, needed)) is None:
            if not self._grow(alignment, needed):
                return None
        row, block = found
        room = self._room(block.start, alignment)
        if room:
            block = self._cut(row, block, room)
        block.used = True
        if block.size - needed >= SMALLEST:
            self._cut(row, block, needed)
        return block

    def resize(self, block: Block, size: int) -> Block | None:
        """In place or moved; see RESIZING."""
        needed = block_size(size)
        row = self._row_of(block)
        after = row.blocks.index(block) + 1
        upper = row.blocks[after] if after < len(row.blocks) else None
        spare = upper.size if upper and not upper.used else 0
        if block.size + spare < needed:
            return self.move(block, size)
        if spare:
            row.blocks.remove(upper)
            block.size += spare
        if block.size - needed >= SMALLEST:
            self.release(self._cut(row, block, needed))
        return block

    def release(self, block: Block) -> None:
        """See FREEING."""
        row = self._row_of(block)
        block.used = False
        at = row.blocks.index(block)
        first = at - 1 if at and not row.blocks[at - 1].used else at
        behind = at + 2 if at + 1 < len(row.blocks) and not row.blocks[at + 1].used else at + 1
        fused = WideBlock(
            row.blocks[first].start, sum(each.size for each in row.blocks[first:behind])
        )
        row.blocks[first:behind] = [fused]
        if row is self.open and fused is row.blocks[-1]:
            self._give_back(row)

    # Blocks -------------------------------------------------------------------------------

    def _room(self, start: int, alignment: int) -> int:
        """Bytes left below the lowest aligned payload in a block at `start`."""
        room = -(self.base + start + HEADER) % alignment
        return room + alignment if 0 < room < SMALLEST else room

    def _find(self, alignment: int, needed: int) -> tuple[Row, Block] | None:
        """The lowest free block that holds `needed` bytes at that alignment, and its row."""
        for row in self.rows:
            for block in row.blocks:
                room = self._room(block.start, alignment)
                if not block.used and block.size >= room + needed:
                    return row, block
        return None

    def _row_of(self, block: Block) -> Row:
        return next(row for row in self.rows if block in row.blocks)

    def _cut(self, row: Row, block: Block, size: int) -> Block:
        """Cuts `block` after `size` bytes; returns the upper part, which is free."""
        rest = WideBlock(block.start + size, block.size - size)
        block.size = size
        row.blocks.insert(row.blocks.index(block) + 1, rest)
        return rest

    # Growth -------------------------------------------------------------------------------

    def _grow(self, alignment: int, needed: int) -> bool:
        """Asks once; False when refused.  See GROWTH."""
        if self.open is None:
            return self._start_row(RECORD + most_room(alignment) + needed + STEP - 1)
        row = self.open
        last = row.blocks[-1]
        start = row.blocks[-1].end if last.used else last.start
        size = start + self._room(start, alignment) + needed - row.limit
        memory = self.pages.grow(size)
        if memory is None:
            return False
        if memory != row.limit:
            self.pages.shrink(size)
            self.open = None
            return True
        row.limit += size
        if last.used:
            row.blocks.append(WideBlock(start, 0))
        row.blocks[-1].size = self._end(row) - start
        return True

    def _start_row(self, size: int) -> bool:
        start = self.pages.grow(size)
        if start is None:
            return False
        row = Row(start, start + size)
        first = up(self.base + start, STEP) - self.base + RECORD
        row.blocks.append(WideBlock(first, self._end(row) - first))
        self.rows = sorted([*self.rows, row], key=lambda each: each.start)
        self.open = row
        return True

    def _end(self, row: Row) -> int:
        """The last offset up to the limit whose address is 8 modulo 16."""
        return row.limit - (self.base + row.limit - RECORD) % STEP

    def _give_back(self, row: Row) -> None:
        """The free end of the open row; the whole row if that is all there is."""
        whole = len(row.blocks) == 1
        start = row.start if whole else row.blocks[-1].start
        if not self.pages.shrink(row.limit - start):
            return
        if whole:
            self.rows.remove(row)
            self.open = None
        else:
            row.blocks.pop()
            row.limit = start


class MappedPages:
    """A contiguous area made of regions that `store` maps: page_source_mapped.h.

    Offsets are told from the same base as the store's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.start = self.end = self.limit = 0  # all 0: no region

    def grow(self, size: int) -> int | None:
        """The offset of `size` new bytes, None when refused."""
        if size > PTRDIFF_MAX:
            return None
        missing = size - (self.limit - self.end)
        if missing > 0 and not self._extend(missing) and not self._map(size):
            return None
        self.end += size
        return self.end - size

    def shrink(self, size: int) -> bool:
        """Gives the last `size` bytes back; there are always as many."""
        self.end -= size
        self._trim()
        if self.end == self.start:
            self.start = self.end = self.limit = 0
        return True

    def _trim(self) -> None:
        kept = self.start + up(self.end - self.start, PAGE)
        self.store.unmap(kept, self.limit - kept)
        self.limit = kept

    def _extend(self, missing: int) -> bool:
        size = self.limit - self.start
        new_size = size + up(missing, REGION_STEP)
        if not size or not self.store.extend(self.start, size, new_size):
            return False
        self.limit = self.start + new_size
        return True

    def _map(self, size: int) -> bool:
        region = self.store.map(up(size, REGION_STEP))
        if region is None:
            return False
        if region != self.limit:
            self._trim()
            self.start = self.end = region
        self.limit = region + up(size, REGION_STEP)
        return True


class ArrayPages:
    """An array from `start` to `limit`, offsets from the base: page_source_array.h."""

    def __init__(self, start: int, limit: int) -> None:
        self.limit = limit
        self.end = start

    def grow(self, size: int) -> int | None:
        """The offset of `size` new bytes, None when the array is used up."""
        if size > self.limit - self.end:
            return None
        self.end += size
        return self.end - size

    def shrink(self, size: int) -> bool:
        """Takes the last `size` bytes back; there are always as many."""
        self.end -= size
        return True


Pages = Store | MappedPages | ArrayPages


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)


def predict_mmap(trace: Trace, run: Run, contract: Contract) -> Exact:
    """The same for the variant on mapped regions."""
    store = store_of(trace, run)
    return Exact(contract, store, run.base, MappedPages(store))


def predict_array(trace: Trace, run: Run, contract: Contract) -> Exact:
    """The same for the variant on an array, which holds nothing else than this heap."""
    return Exact(contract, store_of(trace, run), run.base, ArrayPages(0, run.arena_size))
