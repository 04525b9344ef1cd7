"""The exact model of explicit_list: every address and the whole layout, from its header alone.

It keeps no list: a block's place in it follows from when it came to be free, or from where it lies.
"""

from __future__ import annotations

from models.contract import Contract
from models.exact.model import store_of
from models.exact.rows import RowBlock, Rows
from models.observation import Run
from models.trace import Trace


class Exact(Rows):
    """explicit_list in LIFO order: what came to be free last is looked at first."""

    def fit(self, needed: int) -> RowBlock | None:
        """The youngest free block of at least `needed` bytes."""
        enough = [block for block in self.free() if block.size >= needed]
        return max(enough, key=lambda block: block.freed, default=None)


class AddressOrdered(Rows):
    """explicit_list in address order: the list runs upwards."""

    def fit(self, needed: int) -> RowBlock | None:
        """The lowest free block of at least `needed` bytes."""
        return next((block for block in self.free() if block.size >= needed), None)


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)


def predict_address_order(trace: Trace, run: Run, contract: Contract) -> AddressOrdered:
    """The same for the variant whose list is in address order."""
    return AddressOrdered(contract, store_of(trace, run), run.base)
