"""What a heap walk computes with: plain integers where a word is plain, symbolic ones elsewhere.

A walk is written once, as ordinary Python; here its comparisons become questions.  It knows no
heap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import z3

from proofs.logic import Truth, compare, every, negate, plain, some
from proofs.meaning import masked
from proofs.terms import WORD, constant_of, number, simplify

Decide = Callable[[Truth], bool]


class Fact:
    """A truth that may depend on the state; asked for its value, it decides (and may fork)."""

    __slots__ = ("decide", "truth")

    def __init__(self, truth: Truth, decide: Decide) -> None:
        self.truth, self.decide = truth, decide

    def __bool__(self) -> bool:
        decided = plain(self.truth)
        return self.decide(self.truth) if decided is None else decided

    def __and__(self, other: Fact | bool) -> Fact:
        return Fact(every(self.truth, truth_of(other)), self.decide)

    def __or__(self, other: Fact | bool) -> Fact:
        return Fact(some(self.truth, truth_of(other)), self.decide)

    def __invert__(self) -> Fact:
        return Fact(negate(self.truth), self.decide)

    __rand__, __ror__ = __and__, __or__


def truth_of(fact: Fact | bool) -> Truth:
    """The truth of either form."""
    return fact.truth if isinstance(fact, Fact) else bool(fact)


class Seen:
    """A number of 64 bits that depends on the state: unsigned, modulo 2**64."""

    __slots__ = ("decide", "term")

    def __init__(self, term: z3.BitVecRef, decide: Decide) -> None:
        self.term, self.decide = term, decide

    def _with(self, term: z3.BitVecRef) -> Seen | int:
        return seen(term, self.decide)

    def __add__(self, other: Any) -> Seen | int:
        return self._with(self.term + term_of(other))

    def __sub__(self, other: Any) -> Seen | int:
        return self._with(self.term - term_of(other))

    def __rsub__(self, other: Any) -> Seen | int:
        return self._with(term_of(other) - self.term)

    def __mul__(self, other: Any) -> Seen | int:
        return self._with(self.term * term_of(other))

    def __and__(self, other: Any) -> Seen | int:
        return self._with(masked(self.term, term_of(other)))

    def __or__(self, other: Any) -> Seen | int:
        return self._with(self.term | term_of(other))

    def __xor__(self, other: Any) -> Seen | int:
        return self._with(self.term ^ term_of(other))

    def __rshift__(self, other: Any) -> Seen | int:
        return self._with(z3.LShR(self.term, term_of(other)))

    def __lshift__(self, other: Any) -> Seen | int:
        return self._with(self.term << term_of(other))

    def __mod__(self, other: Any) -> Seen | int:
        if not isinstance(other, int) or other & (other - 1):
            raise TypeError("a walk takes remainders of powers of two only")
        return self & (other - 1)

    __radd__, __rmul__, __rand__, __ror__, __rxor__ = __add__, __mul__, __and__, __or__, __xor__

    def _compare(self, predicate: str, other: Any) -> Fact:
        return Fact(compare(predicate, self.term, term_of(other)), self.decide)

    def __eq__(self, other: object) -> Fact:  # type: ignore[override]
        return self._compare("eq", other)

    def __ne__(self, other: object) -> Fact:  # type: ignore[override]
        return self._compare("ne", other)

    def __lt__(self, other: Any) -> Fact:
        return self._compare("ult", other)

    def __le__(self, other: Any) -> Fact:
        return self._compare("ule", other)

    def __gt__(self, other: Any) -> Fact:
        return self._compare("ugt", other)

    def __ge__(self, other: Any) -> Fact:
        return self._compare("uge", other)

    def __bool__(self) -> bool:
        return bool(self != 0)

    __hash__ = None  # type: ignore[assignment]

    def __index__(self) -> int:
        raise TypeError("a number that depends on the state is no index: compare it instead")


Number = Seen | int


def seen(term: z3.BitVecRef, decide: Decide) -> Number:
    """A term as a walk sees it: a plain integer where it is constant."""
    term = simplify(term)
    known = constant_of(term)
    return Seen(term, decide) if known is None else known


def term_of(value: Any) -> z3.BitVecRef:
    """The term of either form, WORD bits wide; raises TypeError for anything else."""
    if isinstance(value, Seen):
        return value.term
    if isinstance(value, int):
        return number(value, WORD)
    raise TypeError(f"a walk computes with integers, not with {value!r}")
