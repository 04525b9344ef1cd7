"""What all exact models have in common: operations become requests, names become blocks.

An allocator's own model says where blocks lie; it is written from that allocator's header.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from models.contract import PTRDIFF_MAX, Contract
from models.exact.store import DEFAULT_STORE, Store
from models.observation import Observation, Run, Seen
from models.trace import NIL, Kind, Op, Trace

NULL = 0


class Granted(Protocol):
    """What an allocation gives: where the payload lies, and how much of it may be used."""

    @property
    def payload(self) -> int:
        """Offset from the base."""

    @property
    def usable(self) -> int:
        """Bytes that may be used, as mem_usable_size tells."""


class ExactModel(ABC):
    """An allocator that implements mem.h, as its header tells it.

    `store` is where its pages come from; `base` is the address that offsets are told from (only
    alignments that it is not a multiple of depend on it).
    """

    def __init__(self, contract: Contract, store: Store, base: int = 0) -> None:
        self.contract = contract
        self.store = store
        self.base = base
        self.named: dict[int, Granted] = {}
        self._requests = 0  # that the store had seen before the last operation

    # What each allocator says ----------------------------------------------------------------

    @abstractmethod
    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up, as mem_walk shows them: (offset, size, used)."""

    @abstractmethod
    def allocate(self, size: int) -> Granted | None:
        """A request of at most PTRDIFF_MAX bytes; None when it is refused."""

    @abstractmethod
    def allocate_aligned(self, alignment: int, size: int) -> Granted | None:
        """The same at a power of two of at most PTRDIFF_MAX / 2."""

    @abstractmethod
    def resize(self, block: Granted, size: int) -> Granted | None:
        """The block that takes the place of `block`; None when refused, and nothing changed.

        The old block is gone from `named` afterwards: a model only frees what it moved.
        """

    @abstractmethod
    def release(self, block: Granted) -> None:
        """The end of a block."""

    # What all share --------------------------------------------------------------------------

    def move(self, block: Granted, size: int) -> Granted | None:
        """A new block in place of `block`, which ends; None when refused, and nothing changed."""
        new = self.allocate(size)
        if new is not None:
            self.release(block)
        return new

    def expected(self, op: Op, seen: Observation) -> int | None:
        """Offset of the payload granted, 0 for NULL, None where the op is no allocation.

        To be called once for every op, in order; of `seen` only SKIPPED is looked at.
        """
        self._requests = self.store.requests
        if seen.flags & Seen.SKIPPED:
            return None
        if op.kind is Kind.REALLOC:
            return self._grant(op.name, self._realloc(op))
        if op.kind in (Kind.MALLOC, Kind.CALLOC):
            return self._grant(op.name, self._sized(op.size))
        if op.kind in (Kind.ALIGNED_ALLOC, Kind.MEMALIGN, Kind.POSIX_MEMALIGN):
            return self._grant(op.name, self._aligned(op))
        if op.kind is Kind.FREE and op.first in self.named:
            self.release(self.named.pop(op.first))
        elif op.kind is Kind.FREE_ALL:
            for name in sorted(self.named):
                self.release(self.named.pop(name))
        elif op.kind is Kind.DENY:
            self.store.deny = op.first
        elif op.kind is Kind.FOREIGN:
            self.store.foreign(op.first)
        return None

    def usable(self, name: int) -> int:
        """Bytes that the block granted under `name` may use."""
        return self.named[name].usable

    def held(self) -> int:
        """Bytes of pages that the allocator holds."""
        return self.store.granted

    def asked_pages(self) -> bool:
        """Whether the last operation asked for pages, granted or not."""
        return self.store.requests > self._requests

    def _grant(self, name: int, block: Granted | None) -> int:
        if block is None:
            return NULL
        self.named[name] = block
        return block.payload

    def _sized(self, size: int) -> Granted | None:
        return self.allocate(size) if size <= PTRDIFF_MAX else None

    def _aligned(self, op: Op) -> Granted | None:
        if op.alignment.bit_count() != 1 or max(2 * op.alignment, op.size) > PTRDIFF_MAX:
            return None
        return self.allocate_aligned(op.alignment, op.size)

    def _realloc(self, op: Op) -> Granted | None:
        size = op.second
        if op.first == NIL:
            return self._sized(size)
        if size > PTRDIFF_MAX:
            return None
        new = self.resize(self.named[op.first], size)
        if new is not None:
            del self.named[op.first]
        return new


def store_of(trace: Trace, run: Run) -> Store:
    """The store that a run of `trace` had, before its first operation."""
    return Store(trace.store or DEFAULT_STORE, run.maps_base - run.base)
