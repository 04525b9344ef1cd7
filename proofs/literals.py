"""Bit-vector constants that cost nothing until z3 sees them: most of what a program computes.

A literal is a z3 term like any other; it says its own value and width, and becomes an object of
z3's only when a term is built of it.  It computes nothing.
"""

from __future__ import annotations

from functools import lru_cache

import z3

from proofs.target import TARGET

WORD = TARGET.bits
_SORTS: dict[int, z3.BitVecSortRef] = {}


class Literal(z3.BitVecNumRef):
    """A constant of `width` bits; `value` is unsigned and below 2**width."""

    def __init__(self, value: int, width: int) -> None:
        self.value, self.width = value, width
        self.ctx = z3.main_ctx()

    def __getattr__(self, name: str):
        if name != "ast":
            raise AttributeError(name)
        self._made = z3.BitVecVal(self.value, self.width)  # keeps z3's object alive
        self.ast = self._made.ast
        return self.ast

    def __del__(self) -> None:
        """z3's object, if there is one, goes with the term that made it."""

    def __reduce__(self):
        return number, (self.value, self.width)

    def size(self) -> int:
        """Its bits."""
        return self.width

    def as_long(self) -> int:
        """Its unsigned value."""
        return self.value

    def sort(self) -> z3.BitVecSortRef:
        """Its sort, one object a width."""
        known = _SORTS.get(self.width)
        if known is None:
            known = _SORTS[self.width] = z3.BitVecSort(self.width)
        return known

    def __add__(self, other):
        value = _operand(other)
        return super().__add__(other) if value is None else number(self.value + value, self.width)

    def __sub__(self, other):
        value = _operand(other)
        return super().__sub__(other) if value is None else number(self.value - value, self.width)

    def __mul__(self, other):
        value = _operand(other)
        return super().__mul__(other) if value is None else number(self.value * value, self.width)


def _operand(other: object) -> int | None:
    """The number that an operand is, if it is plainly one."""
    if other.__class__ is Literal:
        return other.value
    return other if isinstance(other, int) else None


@lru_cache(maxsize=1 << 16)
def number(value: int, width: int = WORD) -> Literal:
    """A constant of `width` bits, reduced modulo 2**width."""
    return Literal(value % (1 << width), width)


def constant_of(term: z3.BitVecRef) -> int | None:
    """The value of a constant, else None; noted on the term itself, for z3 is slow to say."""
    if term.__class__ is Literal:
        return term.value
    noted = term.__dict__
    if "known" not in noted:
        noted["known"] = term.as_long() if z3.is_bv_value(term) else None
    return noted["known"]


def width_of(term: z3.BitVecRef) -> int:
    """Its bits."""
    if term.__class__ is Literal:
        return term.width
    noted = term.__dict__
    if "bits" not in noted:
        noted["bits"] = term.size()
    return noted["bits"]
