"""Memory as a persistent list of writes, newest first, over pages that read zero.

Whether a write covers a load is told from the normal forms of the addresses where they say it,
and asked of the solver otherwise.  Exact to the byte; it does not judge whether an access is
allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import z3

from proofs.logic import Truth, condition, equal, every, less, some
from proofs.terms import distance_bounds, low_bits, number, simplify, value_range

BYTE = 8


class Asker(Protocol):
    """Decides what the normal forms leave open, on the path that loads."""

    def possible(self, truth: Truth) -> bool:
        """Whether it holds in some state of the path."""


@dataclass(frozen=True, slots=True)
class Word:
    """A value stored; its size is that of the term."""

    address: z3.BitVecRef
    value: z3.BitVecRef

    @property
    def length(self) -> z3.BitVecRef:
        """Bytes written."""
        return number(self.value.size() // BYTE)

    def byte_at(self, offset: z3.BitVecRef, _asker: Asker) -> z3.BitVecRef:
        """The byte `offset` bytes into the write."""
        width = self.value.size()
        if width == BYTE:
            return self.value
        amount = z3.Extract(width - 1, 0, offset * BYTE) if width < offset.size() else offset * BYTE
        return z3.Extract(BYTE - 1, 0, z3.LShR(self.value, amount))


@dataclass(frozen=True, slots=True)
class Fill:
    """memset: the same byte all over."""

    address: z3.BitVecRef
    length: z3.BitVecRef
    byte: z3.BitVecRef

    def byte_at(self, _offset: z3.BitVecRef, _asker: Asker) -> z3.BitVecRef:
        """The byte, wherever."""
        return self.byte


@dataclass(frozen=True, slots=True)
class Copy:
    """memcpy or memmove from memory as it was."""

    address: z3.BitVecRef
    length: z3.BitVecRef
    source: z3.BitVecRef
    before: Memory

    def byte_at(self, offset: z3.BitVecRef, asker: Asker) -> z3.BitVecRef:
        """The byte copied to `offset`."""
        return self.before.load(simplify(self.source + offset), 1, asker)


@dataclass(frozen=True, slots=True)
class Scribble:
    """Bytes nobody knows: what the client of an allocator may have written into its block."""

    address: z3.BitVecRef
    length: z3.BitVecRef
    number: int

    def byte_at(self, offset: z3.BitVecRef, _asker: Asker) -> z3.BitVecRef:
        """A byte of which nothing is known, the same one for the same offset."""
        content = z3.Function(
            f"scribble{self.number}", z3.BitVecSort(offset.size()), z3.BitVecSort(BYTE)
        )
        return content(offset)


Write = Word | Fill | Copy | Scribble


@dataclass(frozen=True, slots=True)
class Memory:
    """All writes so far."""

    newest: Write | None = None
    older: Memory | None = None

    def after(self, write: Write) -> Memory:
        """The memory with one more write."""
        return Memory(write, self)

    def load(self, address: z3.BitVecRef, size: int, asker: Asker) -> z3.BitVecRef:
        """The `size` bytes at `address`, lowest byte least significant."""
        unsure, value = [], number(0, size * BYTE)
        for write in self._writes():
            answer = _relation(write, address, size)
            if answer == "same":
                value = write.value
                break
            if answer == "inside":
                value = _bytes_of(write, address, size, asker)
                break
            if answer == "unsure":
                unsure.append(write)
        if unsure and asker.possible(some(*(touches(write, address, size) for write in unsure))):
            for write in reversed(unsure):
                value = _overlaid(write, address, size, value, asker)
        return simplify(value)

    def _writes(self) -> Iterator[Write]:
        memory = self
        while memory.newest is not None:
            yield memory.newest
            memory = memory.older


def touches(write: Write, address: z3.BitVecRef, size: int) -> Truth:
    """Whether the write and [address, address + size) share a byte; neither range wraps."""
    return every(
        less(address, simplify(write.address + write.length)),
        less(write.address, simplify(address + size)),
    )


def _relation(write: Write, address: z3.BitVecRef, size: int) -> str:
    """same (a word exactly there), inside (wholly within the write), apart, or unsure."""
    distance = distance_bounds(address, write.address)
    if distance is None:
        return "unsure"
    if distance == (0, 0) and isinstance(write, Word) and write.value.size() == size * BYTE:
        return "same"
    longest = value_range(write.length)[1]
    if distance[0] >= longest or distance[1] <= -size:
        return "apart"
    shortest = value_range(write.length)[0]
    if distance[0] >= 0 and distance[1] + size <= shortest:
        return "inside"
    beyond = distance_bounds(address, simplify(write.address + write.length))
    return "apart" if beyond is not None and beyond[0] >= 0 else "unsure"


def _bytes_of(write: Write, address: z3.BitVecRef, size: int, asker: Asker) -> z3.BitVecRef:
    start = simplify(address - write.address)
    parts = [write.byte_at(simplify(start + index), asker) for index in range(size)]
    return z3.Concat(*reversed(parts)) if size > 1 else parts[0]


def _overlaid(write: Write, address, size: int, below: z3.BitVecRef, asker: Asker):
    """What the load sees when `write` may lie, wholly or partly, over the value `below`."""
    if not asker.possible(touches(write, address, size)):
        return below
    aligned = isinstance(write, Word) and write.value.size() == below.size()
    if aligned and _never_straddles(write.address, address, size):
        return z3.If(condition(equal(write.address, address)), write.value, below)
    parts = []
    for index in range(size):
        offset = simplify(address + index - write.address)
        under = z3.Extract(BYTE * index + BYTE - 1, BYTE * index, below)
        parts.append(z3.If(z3.ULT(offset, write.length), write.byte_at(offset, asker), under))
    return z3.Concat(*reversed(parts)) if size > 1 else parts[0]


def _never_straddles(first: z3.BitVecRef, second: z3.BitVecRef, size: int) -> bool:
    """Both aligned to `size`: then they are equal or apart."""
    count = size.bit_length() - 1
    return all(low_bits(term, count) == 0 for term in (first, second))
