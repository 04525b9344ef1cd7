"""The exact model of tlsf: predicts every address and the whole layout from its header alone.

It is not a transcription of tlsf.c: a sorted list of blocks and linear scans, no flags, lists or
bitmaps.  It judges nothing; models/judge.py compares its predictions with what was seen.
"""

from __future__ import annotations

from models.contract import Contract
from models.exact.model import store_of
from models.exact.rows import RowBlock, Rows
from models.exact.store import up
from models.observation import Run
from models.trace import Trace

HEAD = 8
STEP = 16
SMALLEST = 32
ENDS = 16  # the word below the first block, and the fence
PARTS = 16  # second-level classes in a power of two


class ListedBlock(RowBlock):
    """A block without a footer; `freed` tells when it entered its list."""

    HEAD = HEAD
    FOOT = 0


def block_size(size: int) -> int:
    """Bytes of block that a request of `size` bytes needs."""
    return max(SMALLEST, up(size + HEAD, STEP))


def class_width(size: int) -> int:
    """Bytes between the least size of this size's class and that of the next."""
    return max(STEP, (1 << (size.bit_length() - 1)) // PARTS)


def class_floor(size: int) -> int:
    """The least size of the class that `size` is in."""
    return size // class_width(size) * class_width(size)


def class_up(size: int) -> int:
    """`size` rounded up to the least size of a class."""
    return up(size, class_width(size))


class Exact(Rows):
    """tlsf as its header tells it: a row whose free blocks are found by class."""

    kind = ListedBlock
    ends = ENDS

    def need(self, size: int) -> int:
        """See block_size."""
        return block_size(size)

    def asked(self, needed: int) -> int:
        """Only a class that holds nothing smaller is looked in; see FIT RELATION."""
        return class_up(needed)

    def fit(self, needed: int) -> RowBlock | None:
        """Of the lowest class that holds a block, the one that entered its list last."""
        fits = [block for block in self.free() if block.size >= needed]
        return min(fits, key=lambda block: (class_floor(block.size), -block.freed), default=None)


def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
    """A model for one run of `trace`, before its first operation: what the judge asks for."""
    return Exact(contract, store_of(trace, run), run.base)
