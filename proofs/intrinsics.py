"""The functions that LLVM itself provides: memset, memcpy, arithmetic with overflow, traps.

Only those; the functions of the C library that a program calls are hooks of the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import z3

from proofs.ir import POINTER_BITS
from proofs.logic import Truth, at_most, equal, every, is_aligned, less, negate, some
from proofs.meaning import (
    Value,
    extreme,
    funnel,
    magnitude,
    ones,
    saturated,
    swapped,
    with_overflow,
)
from proofs.memory import Copy, Fill
from proofs.path import Path, Touch
from proofs.read_ir import TRAPS, UnsupportedIr
from proofs.terms import constant_of, number, simplify, value_range

if TYPE_CHECKING:
    from proofs.engine import Engine

# Assumptions that the C makes are checked before: UBSan's, in subject_ir.py.
_NOTHING = (
    *("llvm.lifetime.", "llvm.dbg.", "llvm.assume", "llvm.experimental.noalias"),
    *("llvm.prefetch", "llvm.stackrestore", "llvm.sideeffect", "llvm.donothing", "llvm.invariant."),
)
# They say what their argument is, or is likely to be.
_ITSELF = ("expect", "launder", "strip", "threadlocal")
_MOVES = ("memset", "memcpy", "memmove")


def is_intrinsic(name: str) -> bool:
    """Whether a function of this name may be one of those here."""
    return name.startswith("llvm.") or name in _MOVES


@dataclass(frozen=True)
class Intrinsics:
    """Calls made by `caller` on one path; `there` is ", file:line" where that is known."""

    engine: Engine
    path: Path
    caller: str
    there: str = ""

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
            what = f"undefined behaviour in {self.caller}{self.there}"
            self.engine.end(self.path, "no_undefined", what)
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
        if verb in _ITSELF:
            return arguments[0]
        if ".with.overflow." in name:
            return with_overflow(verb, *arguments)
        if verb in ("usub", "uadd", "ssub", "sadd") and ".sat." in name:
            return saturated(verb, *arguments)
        if verb in ("umin", "umax", "smin", "smax"):
            return extreme(verb, *arguments)
        if verb == "ctpop":
            return ones(arguments[0])
        if verb == "abs":
            return magnitude(arguments[0])
        if verb in ("bswap", "bitreverse"):
            return swapped(arguments[0], 8 if verb == "bswap" else 1)
        if verb in ("fshl", "fshr"):
            return funnel(verb, *arguments)
        if verb == "ptrmask":
            return simplify(arguments[0] & arguments[1])
        if name.startswith("llvm.is.constant"):
            return False  # a compiler may always say so
        if verb == "objectsize":  # not known: the largest, or the least, whichever is asked for
            return number(0 if arguments[1] is True else -1, int(name.split(".")[2][1:]))
        if verb in ("stacksave", "frameaddress", "returnaddress"):
            return self.engine.reasoning.fresh(verb, POINTER_BITS)
        raise UnsupportedIr(f"unsupported intrinsic: {name}")

    def _move(self, verb: str, target, source, length) -> None:
        """memset (source is a byte) or memcpy and memmove (source is an address)."""
        path, guard, nothing = self.path, self._guard, equal(length, 0)
        what = f"{self.caller} calls {verb} outside its memory{self.there}"
        touch = Touch(target, length, True, path.scene)
        path.owe("bounds", what, some(nothing, guard(path, target, length, True)), touch)
        if verb == "memset":
            path.write(Fill(target, length, source))
            return
        touch = Touch(source, length, False, path.scene)
        path.owe("bounds", what, some(nothing, guard(path, source, length, False)), touch)
        if verb == "memcpy":
            apart = (
                at_most(simplify(source + length), target),
                at_most(simplify(target + length), source),
            )
            what = f"{self.caller} calls memcpy on ranges that overlap{self.there}"
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
