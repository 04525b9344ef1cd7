"""Memory as a persistent list of writes, newest first, over pages that read zero.

Whether a write covers a load is told from the normal forms of the addresses where they say it,
and asked of the solver otherwise.  Exact to the byte; it does not judge whether an access is
allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import z3

from proofs.cells import EMPTY, LARGEST, SHIFT, Cells, Entry, entries, with_entry
from proofs.literals import Literal
from proofs.logic import Truth, at_most, condition, equal, every, less, negate, plain, some
from proofs.remember import remembered
from proofs.solver import Model
from proofs.terms import (
    constant_distance,
    constant_of,
    distance_bounds,
    low_bits,
    number,
    simplify,
    value_range,
    width_of,
)

BYTE = 8


class Asker(Protocol):
    """Decides what the normal forms leave open, on the path that loads."""

    def state(self, truth: Truth) -> Model | None:
        """A state of the path in which it holds, None if there is none."""

    def apart(self, write: Write, address: z3.BitVecRef, size: int) -> bool:
        """Whether they are known to share no byte, though their forms do not say so."""


@dataclass(frozen=True, slots=True)
class Word:
    """A value stored; its size is that of the term."""

    address: z3.BitVecRef
    value: z3.BitVecRef

    @property
    def length(self) -> z3.BitVecRef:
        """Bytes written."""
        return number(width_of(self.value) // BYTE)

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


class Wide(NamedTuple):
    """A write that the cells do not hold: of many bytes, or at an address not known."""

    age: int
    low: int
    high: int
    write: Write
    older: Wide | None


@dataclass(frozen=True, slots=True)
class Memory:
    """All writes so far, newest last in age; those at constant addresses are indexed by cells."""

    age: int = 0
    cells: Cells = EMPTY
    wide: Wide | None = None

    def after(self, write: Write) -> Memory:
        """The memory with one more write."""
        start, length = constant_of(write.address), _constant_length(write)
        if start is None or length is None or length > LARGEST:
            low, high = _span(write.address, value_range(write.length)[1])
            return Memory(self.age + 1, self.cells, Wide(self.age, low, high, write, self.wide))
        if length == 0:
            return self
        entry = Entry(self.age, start, start + length, write)
        return Memory(self.age + 1, with_entry(self.cells, entry), self.wide)

    def load(self, address: z3.BitVecRef, size: int, asker: Asker) -> z3.BitVecRef:
        """The `size` bytes at `address`, lowest byte least significant."""
        start = constant_of(address)
        if start is not None:
            newest = self._newest(start, start + size)
            if newest is not None:
                return _part(newest, start, size)
            assembled = self._assembled(start, size)
            if assembled is not None:
                return number(assembled, size * BYTE)
        unsure, value = [], number(0, size * BYTE)
        for write in self._writes(*_span(address, size)):
            answer = _relation(write, address, size)
            if answer in ("same", "inside"):
                value = _content(write, address, size, answer, asker)
                break
            if answer == "unsure" and not asker.apart(write, address, size):
                unsure.append(write)
        return _seen_through(unsure, address, size, value, asker)

    def _newest(self, start: int, end: int) -> Entry | None:
        """The word in which all of [start, end) was written last, if it is one word."""
        if start >> SHIFT == end - 1 >> SHIFT:
            known = self.cells.get(start >> SHIFT, ())
        else:
            known = entries(self.cells, start, end)
        for entry in known:
            if entry.start < end and start < entry.end:
                if entry.start > start or entry.end < end or entry.write.__class__ is not Word:
                    return None
                newest = self.wide
                while newest is not None and newest.age > entry.age:
                    if newest.low < end and start < newest.high:
                        return None
                    newest = newest.older
                return entry
        return None

    def _assembled(self, start: int, size: int) -> int | None:
        """What is there where all that was written there are constants, or nothing was."""
        seen, value, whole = 0, 0, (1 << BYTE * size) - 1
        for write in self._writes(start, start + size):
            if write.__class__ is not Word or write.value.__class__ is not Literal:
                return None
            at = constant_of(write.address)
            if at is None:
                return None
            shift, mask = BYTE * (at - start), (1 << write.value.width) - 1
            value |= _shifted(write.value.value, shift) & ~seen
            seen |= _shifted(mask, shift)
            if seen & whole == whole:
                break
        return value & whole

    def _writes(self, low: int, high: int) -> Iterator[Write]:
        """Those that may touch [low, high), newest first, without those hidden by newer ones."""
        wide = self.wide
        for entry in entries(self.cells, low, high):
            while wide is not None and wide.age > entry.age:
                if wide.low < high and low < wide.high:
                    yield wide.write
                wide = wide.older
            yield entry.write
        while wide is not None:
            if wide.low < high and low < wide.high:
                yield wide.write
            wide = wide.older


def _shifted(value: int, shift: int) -> int:
    return value << shift if shift >= 0 else value >> -shift


def _constant_length(write: Write) -> int | None:
    if write.__class__ is Word:
        return width_of(write.value) // BYTE
    return constant_of(write.length)


def _part(entry: Entry, start: int, size: int) -> z3.BitVecRef:
    """What a load sees that lies wholly in one word at a constant address."""
    value, offset = entry.write.value, start - entry.start
    if entry.end - entry.start == size:
        return value
    whole = constant_of(value)
    if whole is not None:
        return number(whole >> (BYTE * offset), BYTE * size)
    return simplify(z3.Extract(BYTE * (offset + size) - 1, BYTE * offset, value))


def _span(address: z3.BitVecRef, length: int) -> tuple[int, int]:
    low, high = value_range(address)
    return low, high + length


@remembered
def touches(write: Write, address: z3.BitVecRef, size: int) -> Truth:
    """Whether the write and [address, address + size) share a byte; neither range wraps."""
    return every(
        less(address, simplify(write.address + write.length)),
        less(write.address, simplify(address + size)),
    )


@remembered
def _relation(write: Write, address: z3.BitVecRef, size: int) -> str:
    """same (a word exactly there), inside (wholly within the write), apart, or unsure."""
    fixed = constant_distance(address, write.address)
    distance = distance_bounds(address, write.address) if fixed is None else (fixed, fixed)
    if distance is None:
        return "unsure"
    if distance == (0, 0) and isinstance(write, Word) and width_of(write.value) == size * BYTE:
        return "same"
    longest = value_range(write.length)[1]
    if distance[0] >= longest or distance[1] <= -size:
        return "apart"
    shortest = value_range(write.length)[0]
    if distance[0] >= 0 and distance[1] + size <= shortest:
        return "inside"
    beyond = distance_bounds(address, simplify(write.address + write.length))
    return "apart" if beyond is not None and beyond[0] >= 0 else "unsure"


def _seen_through(unsure: list[Write], address, size: int, value, asker: Asker):
    """The value below, overlaid with those of the writes (newest first) that may touch the load.

    A state in which one of them does names a suspect, and then it often is the very word: so two
    questions settle most loads, however many writes there are.
    """
    waiting = list(enumerate(unsure))
    overlays: dict[int, Write] = {}
    while waiting:
        state = asker.state(some(*(touches(write, address, size) for _, write in waiting)))
        if state is None:
            break
        age, suspect = next(
            (age, write) for age, write in waiting if _is_so(touches(write, address, size), state)
        )
        if not asker.state(negate(_covers(suspect, address, size))):
            # All that is older is hidden behind it.
            same = "same" if _is_word(suspect, size) else "inside"
            value = _content(suspect, address, size, same, asker)
            waiting = [(other, write) for other, write in waiting if other < age]
            overlays = {other: write for other, write in overlays.items() if other < age}
        else:
            overlays[age] = suspect
            waiting = [(other, write) for other, write in waiting if other != age]
    for age in sorted(overlays, reverse=True):
        value = _overlaid(overlays[age], address, size, value, asker)
    return simplify(value) if overlays else value


def _is_so(truth: Truth, state: Model) -> bool:
    decided = plain(truth)
    return state.holds(truth) if decided is None else decided


@remembered
def _covers(write: Write, address, size: int) -> Truth:
    """The load lies wholly in the write; for a word of the same size: exactly there."""
    if _is_word(write, size):
        return equal(write.address, address)
    end = simplify(write.address + write.length)
    return every(at_most(write.address, address), at_most(simplify(address + size), end))


def _is_word(write: Write, size: int) -> bool:
    return isinstance(write, Word) and width_of(write.value) == size * BYTE


def _content(write: Write, address, size: int, answer: str, asker: Asker) -> z3.BitVecRef:
    """What a load sees that lies wholly in one write."""
    if answer == "same":
        return write.value
    start = simplify(address - write.address)
    if isinstance(write, Copy):
        return write.before.load(simplify(write.source + start), size, asker)
    if isinstance(write, Fill) and constant_of(write.byte) is not None:
        return number(
            int.from_bytes(bytes([constant_of(write.byte)]) * size, "little"), size * BYTE
        )
    parts = [write.byte_at(simplify(start + index), asker) for index in range(size)]
    return simplify(z3.Concat(*reversed(parts))) if size > 1 else parts[0]


def _overlaid(write: Write, address, size: int, below: z3.BitVecRef, asker: Asker):
    """What the load sees when `write` may lie, wholly or partly, over the value `below`."""
    if _is_word(write, size) and _never_straddles(write.address, address, size):
        return z3.If(condition(equal(write.address, address)), write.value, below)
    parts = []
    for index in range(size):
        offset = simplify(address + index - write.address)
        under = z3.Extract(BYTE * index + BYTE - 1, BYTE * index, below)
        over = condition(less(offset, write.length))
        parts.append(z3.If(over, write.byte_at(offset, asker), under))
    return z3.Concat(*reversed(parts)) if size > 1 else parts[0]


def _never_straddles(first: z3.BitVecRef, second: z3.BitVecRef, size: int) -> bool:
    """Both aligned to `size`: then they are equal or apart."""
    count = size.bit_length() - 1
    return all(low_bits(term, count) == 0 for term in (first, second))
