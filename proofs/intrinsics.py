"""The functions that LLVM itself provides: memset, memcpy, arithmetic with overflow, traps.

Only those; the functions of the C library that a program calls are hooks of the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import z3

from proofs.logic import Truth, at_most, equal, every, is_aligned, less, negate, some
from proofs.meaning import Value, extreme, magnitude, ones, saturated, with_overflow
from proofs.memory import Copy, Fill
from proofs.path import Path
from proofs.read_ir import TRAPS, UnsupportedIr
from proofs.terms import constant_of, number, simplify, value_range

if TYPE_CHECKING:
    from proofs.engine import Engine

_NOTHING = ("llvm.lifetime.", "llvm.dbg.", "llvm.assume", "llvm.experimental.noalias")


_MOVES = ("memset", "memcpy", "memmove")


def is_intrinsic(name: str) -> bool:
    """Whether a function of this name may be one of those here."""
    return name.startswith("llvm.") or name in _MOVES


@dataclass(frozen=True)
class Intrinsics:
    """Calls made by `caller` on one path."""

    engine: Engine
    path: Path
    caller: str

    def call(self, name: str, arguments: Sequence[Value]) -> list | None:
        """What the call gives, None when `name` is not one of LLVM's."""
        if name in _MOVES:
            byte = z3.Extract(7, 0, arguments[1])
            middle = byte if name == "memset" else arguments[1]
            self._move(name, arguments[0], middle, arguments[2])
            return [(self.path, arguments[0])]
        if not name.startswith("llvm."):
            return None
        if name.startswith(TRAPS):
            self.engine.end(self.path, "no_undefined", f"undefined behaviour in {self.caller}")
            return []
        if name.startswith(_NOTHING):
            return [(self.path, None)]
        verb = name.split(".")[1]
        if verb in _MOVES:
            self._move(verb, *arguments[:3])
            return [(self.path, None)]
        if verb in ("ctlz", "cttz"):
            return list(self._zeros(verb, arguments[0]))
        return [(self.path, self._pure(name, verb, arguments))]

    def _zeros(self, verb: str, value) -> Iterator[tuple[Path, Value]]:
        """Counts leading or trailing zeros: a path for each answer there can be.

        What is computed from the count then stays linear.
        """
        rest: Path | None = self.path
        if (known := constant_of(value)) is not None:
            yield rest, number(_count(verb, known, value)[0], value.size())
            return
        if verb == "ctlz" and (count := _leading(value)) is not None:
            yield rest, number(count, value.size())
            return
        while rest is not None:
            state = self.engine.reasoning.model(rest)
            if state is None:
                return
            count, found = _count(verb, state.value(value), value)
            sides = dict(self.engine.reasoning.split(rest, found))
            yield sides[True], number(count, value.size())
            rest = sides.get(False)

    def _guard(self, path: Path, address, length, writes: bool) -> Truth:
        return self.engine.guard(self.engine, path, address, length, writes)

    def _pure(self, name: str, verb: str, arguments: Sequence[Value]) -> Value:
        if ".with.overflow." in name:
            return with_overflow(verb, *arguments)
        if verb in ("usub", "uadd") and ".sat." in name:
            return saturated(verb, *arguments)
        if verb in ("umin", "umax", "smin", "smax"):
            return extreme(verb, *arguments)
        if verb == "ctpop":
            return ones(arguments[0])
        if verb == "abs":
            return magnitude(arguments[0])
        raise UnsupportedIr(f"unsupported intrinsic: {name}")

    def _move(self, verb: str, target, source, length) -> None:
        """memset (source is a byte) or memcpy and memmove (source is an address)."""
        path, guard, nothing = self.path, self._guard, equal(length, 0)
        what = f"{self.caller} calls {verb} outside its memory"
        path.owe("bounds", what, some(nothing, guard(path, target, length, True)))
        if verb == "memset":
            path.write(Fill(target, length, source))
            return
        path.owe("bounds", what, some(nothing, guard(path, source, length, False)))
        if verb == "memcpy":
            apart = (
                at_most(simplify(source + length), target),
                at_most(simplify(target + length), source),
            )
            what = f"{self.caller} calls memcpy on ranges that overlap"
            path.owe("no_undefined", what, some(nothing, equal(target, source), *apart))
        path.write(Copy(target, simplify(length), source, path.memory))


def _leading(value: z3.BitVecRef) -> int | None:
    """How many leading zeros it has, where its range says so."""
    low, high = value_range(value)
    return value.size() - low.bit_length() if low.bit_length() == high.bit_length() else None


def _count(verb: str, at: int, value: z3.BitVecRef) -> tuple[int, Truth]:
    """How many zeros there are where the value is `at`, and the condition for as many."""
    width = value.size()
    if not at:
        return width, equal(value, 0)
    if verb == "cttz":
        lowest = at & -at
        odd = negate(is_aligned(value, 2 * lowest)) if 2 * lowest < 1 << width else True
        return lowest.bit_length() - 1, every(
            is_aligned(value, lowest) if lowest > 1 else True, odd, negate(equal(value, 0))
        )
    highest = at.bit_length() - 1
    below = less(value, number(2 << highest, width)) if highest < width - 1 else True
    return width - 1 - highest, every(at_most(number(1 << highest, width), value), below)
