"""The exact model of best_fit: predicts every address and the whole layout from its header alone.

It is not a transcription of best_fit.c: a sorted list of blocks and linear scans, no tags, no
free list.  It judges nothing; models/judge.py compares its predictions with what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.contract import PTRDIFF_MAX, Contract
from models.observation import Observation, Run, Seen
from models.trace import DENY_ALL, NIL, Kind, Op, Trace

TAG = 8
STEP = 16
SMALLEST = 32
GROWTH = 4096
FENCES = 32
NULL = 0
DEFAULT_STORE = 16 << 20  # what a trace that names no store gets; allocator/region.py says so


@dataclass(eq=False)
class Block:
    """One block: `start` is the offset of its header tag from the base, `size` counts both tags."""

    start: int
    size: int
    used: bool

    @property
    def end(self) -> int:
        """Offset of the first byte behind the block."""
        return self.start + self.size

    @property
    def payload(self) -> int:
        """Offset of the payload from the base."""
        return self.start + TAG


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return max(SMALLEST, _up(size + 2 * TAG, STEP))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


class Store:
    """Where pages come from: a break that moves up, a cap, and the refusals that a trace asks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.top = 0
        self.granted = 0
        self.deny = 0

    def grow(self, size: int) -> int | None:
        """Offset of `size` new bytes at the break, None when refused."""
        if size > PTRDIFF_MAX:
            return None  # sbrk cannot even be asked
        if self.deny and self.deny != DENY_ALL:
            self.deny -= 1
            if not self.deny:
                return None
        full = self.granted + size > self.size or self.top + size > _up(self.size, GROWTH)
        if self.deny == DENY_ALL or full:
            return None
        self.granted += size
        self.top += size
        return self.top - size


class ExactModel:
    """Best_fit as its header tells it.

    `store` is the cap in bytes; `base` is the address that offsets are told from (only
    alignments that it is not a multiple of depend on it).
    """

    def __init__(self, contract: Contract, store: int, base: int = 0) -> None:
        self.contract = contract
        self.base = base
        self.store = Store(store)
        self.limit = 0  # offset of the first byte behind the memory granted last
        self.blocks: list[Block] = []
        self.named: dict[int, Block] = {}

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up, gaps among them: (offset of the header, size, used)."""
        return [(block.start, block.size, int(block.used)) for block in self.blocks]

    def expected(self, op: Op, seen: Observation) -> int | None:
        """Offset of the payload granted, 0 for NULL, None where the op is no allocation.

        To be called once for every op, in order; of `seen` only SKIPPED is looked at.
        """
        if seen.flags & Seen.SKIPPED:
            return None
        if op.kind is Kind.REALLOC:
            return self._grant(op.name, self._realloc(op))
        if op.kind in _ALLOCATE:
            return self._grant(op.name, _ALLOCATE[op.kind](self, op))
        if op.kind is Kind.FREE:
            self._free(self.named.pop(op.first, None))
        elif op.kind is Kind.FREE_ALL:
            for name in sorted(self.named):
                self._free(self.named.pop(name))
        elif op.kind is Kind.DENY:
            self.store.deny = op.first
        elif op.kind is Kind.FOREIGN:
            self.store.top += op.first
        return None

    def _grant(self, name: int, block: Block | None) -> int:
        if block is None:
            return NULL
        self.named[name] = block
        return block.payload

    # Requests -----------------------------------------------------------------------------

    def _malloc(self, op: Op) -> Block | None:
        return self._allocate(op.size)

    def _calloc(self, op: Op) -> Block | None:
        return self._allocate(op.size)

    def _aligned(self, op: Op) -> Block | None:
        alignment, size = op.alignment, op.size
        if alignment.bit_count() != 1 or max(2 * alignment, size) > PTRDIFF_MAX:
            return None
        if alignment <= STEP:
            return self._allocate(size)
        block = self._find(block_size(size) + alignment + STEP)
        if block is None:
            return None
        below = -(self.base + block.payload) % alignment
        while 0 < below < SMALLEST:
            below += alignment
        if below:
            block = self._split(block, below)
        return self._take(block, block_size(size))

    def _realloc(self, op: Op) -> Block | None:
        size = op.second
        if op.first == NIL:
            return self._allocate(size)
        old = self.named[op.first]
        new = self._resize(old, size)
        if new is not None:
            del self.named[op.first]
        return new

    def _allocate(self, size: int) -> Block | None:
        if size > PTRDIFF_MAX:
            return None
        block = self._find(block_size(size))
        return block and self._take(block, block_size(size))

    def _resize(self, block: Block, size: int) -> Block | None:
        if size > PTRDIFF_MAX:
            return None
        needed = block_size(size)
        upper = self._upper(block)
        spare = upper.size if upper and not upper.used else 0
        if block.size + spare < needed:
            return self._move(block, size)
        if spare:
            self._join(block, upper)
        return self._take(block, needed)

    def _move(self, block: Block, size: int) -> Block | None:
        new = self._allocate(size)
        if new is not None:
            self._free(block)
        return new

    # Blocks -------------------------------------------------------------------------------

    def _find(self, needed: int) -> Block | None:
        """The smallest free block of `needed` bytes, lowest first; the heap grows if it must."""
        while True:
            enough = [block for block in self.blocks if not block.used and block.size >= needed]
            if enough:
                return min(enough, key=lambda block: (block.size, block.start))
            if not self._grow(needed):
                return None

    def _take(self, block: Block, needed: int) -> Block:
        """Uses the lower part of `block`; frees the rest if it makes a block."""
        block.used = True
        if block.size - needed >= SMALLEST:
            self._free(self._split(block, needed))
        return block

    def _split(self, block: Block, size: int) -> Block:
        """Cuts `block` after `size` bytes and returns the upper part, as used as it was."""
        rest = Block(block.start + size, block.size - size, block.used)
        block.size = size
        self.blocks.insert(self.blocks.index(block) + 1, rest)
        return rest

    def _free(self, block: Block | None) -> None:
        if block is None:
            return
        block.used = False
        index = self.blocks.index(block)
        for low in (index, index - 1):
            if 0 <= low < len(self.blocks) - 1:
                lower, upper = self.blocks[low : low + 2]
                if not lower.used and not upper.used:
                    self._join(lower, upper)

    def _join(self, lower: Block, upper: Block) -> None:
        lower.size += upper.size
        self.blocks.remove(upper)

    def _upper(self, block: Block) -> Block | None:
        index = self.blocks.index(block) + 1
        return self.blocks[index] if index < len(self.blocks) else None

    # Growth -------------------------------------------------------------------------------

    def _grow(self, needed: int) -> bool:
        """Asks once for what is missing; False when refused."""
        missing = needed
        if not self.blocks:
            missing += FENCES
        elif not self.blocks[-1].used:
            missing -= self.blocks[-1].size
        size = _up(missing, GROWTH)
        start = self.store.grow(size)
        if start is None:
            return False
        self._append(start, start + size)
        return True

    def _append(self, start: int, end: int) -> None:
        """New memory [start, end): the last whole 16-byte line of it holds the upper fence."""
        fence = end // STEP * STEP - TAG
        first = _up(start, STEP) + TAG
        if self.blocks:
            old_fence = self.blocks[-1].end
            if start == self.limit:
                first = old_fence
            else:
                self.blocks.append(Block(old_fence, first - old_fence, True))
        self.limit = end
        block = Block(first, fence - first, True)
        self.blocks.append(block)
        self._free(block)


_ALLOCATE = {
    Kind.MALLOC: ExactModel._malloc,
    Kind.CALLOC: ExactModel._calloc,
    Kind.ALIGNED_ALLOC: ExactModel._aligned,
    Kind.MEMALIGN: ExactModel._aligned,
    Kind.POSIX_MEMALIGN: ExactModel._aligned,
}


def predict(trace: Trace, run: Run, contract: Contract) -> ExactModel:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return ExactModel(contract, trace.store or DEFAULT_STORE, run.base)
