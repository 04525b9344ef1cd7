"""The exact model of implicit_list: every address and the whole layout, from its header alone.

Its three policies are three classes; none of them reads a tag.
"""

from __future__ import annotations

from itertools import pairwise

from models.contract import Contract
from models.exact.model import store_of
from models.exact.rows import RowBlock, Rows
from models.observation import Run
from models.trace import Trace


class Exact(Rows):
    """implicit_list by first fit, merging at once."""

    def fit(self, needed: int) -> RowBlock | None:
        """The lowest free block of at least `needed` bytes."""
        return next((block for block in self.free() if block.size >= needed), None)


class NextFit(Rows):
    """The same by next fit: `rover` is the block that the last search found."""

    rover: RowBlock | None = None

    def fit(self, needed: int) -> RowBlock | None:
        """The lowest one from the rover up, else the lowest one."""
        enough = [block for block in self.free() if block.size >= needed]
        start = self.rover.start if self.rover else 0
        found = next((block for block in enough if block.start >= start), None)
        found = found or (enough[0] if enough else None)
        self.rover = found or self.rover
        return found

    def join(self, lower: RowBlock, upper: RowBlock) -> None:
        """The rover goes down with a block that is merged."""
        super().join(lower, upper)
        if self.rover is upper:
            self.rover = lower


class Deferred(Exact):
    """The same with merging put off until a search fails."""

    def fit(self, needed: int) -> RowBlock | None:
        """First fit, and once more after a sweep."""
        found = super().fit(needed)
        if found:
            return found
        self._sweep()
        return super().fit(needed)

    def release(self, block: RowBlock) -> None:
        """Marks the block, no more."""
        block.used = False

    def _sweep(self) -> None:
        for lower, upper in reversed(list(pairwise(self.blocks))):
            if not lower.used and not upper.used:
                self.join(lower, upper)


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)


def predict_next_fit(trace: Trace, run: Run, contract: Contract) -> NextFit:
    """The same for the next-fit variant."""
    return NextFit(contract, store_of(trace, run), run.base)


def predict_deferred(trace: Trace, run: Run, contract: Contract) -> Deferred:
    """The same for the variant that merges late."""
    return Deferred(contract, store_of(trace, run), run.base)
