"""The exact model of bump: predicts every address and the whole layout from its header alone.

It is not a transcription of bump.c: arenas are Python lists of blocks, and it knows no pointers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.contract import Contract
from models.exact.block import Block
from models.exact.model import ExactModel, store_of
from models.exact.store import PAGE, Store, up
from models.observation import Observation, Run, Seen
from models.trace import Kind, Op, Trace

HEADER = 16
STEP = 16
ARENA_HEADER = 32
ARENA = 16384


@dataclass(eq=False)
class Arena:
    """One arena: offsets of its header and of its end, and its blocks from the lowest up."""

    region: int
    end: int
    blocks: list[Block] = field(default_factory=list)

    @property
    def current(self) -> int:
        """Offset of the room above the last block."""
        return self.blocks[-1].end if self.blocks else self.region + ARENA_HEADER


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return HEADER + max(STEP, up(size, STEP))


class Exact(ExactModel):
    """bump as its header tells it."""

    def __init__(self, contract: Contract, store: Store, base: int = 0) -> None:
        super().__init__(contract, store, base)
        self.arenas: list[Arena] = []  # the newest last

    def layout(self) -> list[tuple[int, int, int]]:
        """Each arena's blocks and the room above them: (offset of the header, size, used)."""
        shown = []
        for arena in sorted(self.arenas, key=lambda each: each.region):
            shown += [(block.start, block.size, int(block.used)) for block in arena.blocks]
            if arena.current < arena.end:
                shown.append((arena.current, arena.end - arena.current, 0))
        return shown

    # Requests -----------------------------------------------------------------------------

    def allocate(self, size: int) -> Block | None:
        """By size; see PLACEMENT and GROWTH."""
        return self._push(block_size(size), STEP) or self._chain(block_size(size), STEP, 0)

    def allocate_aligned(self, alignment: int, size: int) -> Block | None:
        """At a power of two; see ALIGNED ALLOCATION."""
        if alignment <= STEP:
            return self.allocate(size)
        needed = block_size(size)
        return self._push(needed, alignment) or self._chain(needed, alignment, alignment)

    def resize(self, block: Block, size: int) -> Block | None:
        """In place or moved; see RESIZING."""
        needed = block_size(size)
        newest = self.arenas[-1]
        if block is newest.blocks[-1] and block.start + needed <= newest.end:
            block.size = needed
            return block
        if needed <= block.size:
            return block
        return self.move(block, size)

    def release(self, block: Block) -> None:
        """Frees, and gives back what is free at the top; see FREEING."""
        block.used = False
        self._settle()

    # Marks --------------------------------------------------------------------------------

    def mark(self) -> Block | None:
        """The last of all blocks, None on an empty heap."""
        return self.arenas[-1].blocks[-1] if self.arenas else None

    def rewind(self, mark: Block | None) -> None:
        """Frees what was allocated after `mark`, which is good; None frees all."""
        row = [block for arena in self.arenas for block in arena.blocks]
        for block in row[row.index(mark) + 1 if mark else 0 :]:
            block.used = False
        self._settle()

    # Arenas -------------------------------------------------------------------------------

    def _push(self, needed: int, alignment: int) -> Block | None:
        """A block at the top of the newest arena, None where it does not fit."""
        if not self.arenas:
            return None
        arena = self.arenas[-1]
        current = arena.current
        start = up(self.base + current + HEADER, alignment) - HEADER - self.base
        if start + needed > arena.end:
            return None
        if start > current:
            arena.blocks.append(Block(current, start - current, False))
        arena.blocks.append(Block(start, needed, True))
        return arena.blocks[-1]

    def _chain(self, needed: int, alignment: int, slack: int) -> Block | None:
        """The same in a new arena, None when that is refused."""
        size = max(ARENA, up(ARENA_HEADER + needed + slack, PAGE))
        region = self.store.map(size)
        if region is None:
            return None
        self.arenas.append(Arena(region, region + size))
        return self._push(needed, alignment)

    def _settle(self) -> None:
        while self.arenas:
            arena = self.arenas[-1]
            while arena.blocks and not arena.blocks[-1].used:
                arena.blocks.pop()
            if arena.blocks:
                return
            self.store.unmap(arena.region, arena.end - arena.region)
            self.arenas.pop()


class Marks(Exact):
    """The variant that tries a mark before each malloc: only refused pages show that it did."""

    def expected(self, op: Op, seen: Observation) -> int | None:
        """As without marks; scratch blocks ask for pages too, and use up what a deny refuses."""
        before = self.store.requests
        if op.kind is Kind.MALLOC and not seen.flags & Seen.SKIPPED:
            self.rewound(op.size)
        offset = super().expected(op, seen)
        self._requests = before
        return offset

    def rewound(self, size: int) -> None:
        """What marks.toml does before a malloc."""
        outer = self.mark()
        self._scratch(size)
        inner = self.mark()
        self._scratch(size)
        self.rewind(inner)
        self.rewind(outer)
        block = self.allocate(50)
        above = self.allocate(60) if block else None
        if block:
            self.release(block)
        if above:
            self.rewind(block)

    def _scratch(self, size: int) -> None:
        first = self.allocate(100)
        self.allocate_aligned(256, size % 512)
        self.allocate(2000)
        if first is not None:
            self.release(first)


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)


def predict_marks(trace: Trace, run: Run, contract: Contract) -> Marks:
    """The same for the variant with marks."""
    return Marks(contract, store_of(trace, run), run.base)
