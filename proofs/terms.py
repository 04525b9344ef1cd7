"""Bit-vector terms seen as sums over integers: normal forms and value ranges without a solver.

Everything here is exact or says nothing: a range that cannot be told is the full range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import z3

WORD = 64


def number(value: int, width: int = WORD) -> z3.BitVecNumRef:
    """A constant of `width` bits, reduced modulo 2**width."""
    return z3.BitVecVal(value, width)


def simplify(term: z3.ExprRef) -> z3.ExprRef:
    """z3's normal form: a sum of monomials, constants folded."""
    return z3.simplify(term, som=True)


def constant_of(term: z3.BitVecRef) -> int | None:
    """The value of a constant, else None."""
    return term.as_long() if z3.is_bv_value(term) else None


def bit(condition: z3.BoolRef) -> z3.BitVecRef:
    """A truth value as the i1 that LLVM makes of it."""
    return z3.If(condition, number(1, 1), number(0, 1))


def is_set(flag: z3.BitVecRef) -> z3.BoolRef:
    """An i1 as a truth value."""
    return z3.simplify(flag == number(1, 1))


def all_of(conditions: list[z3.BoolRef]) -> z3.BoolRef:
    """The conjunction; true for none."""
    return conditions[0] if len(conditions) == 1 else z3.And(conditions)


@dataclass(frozen=True, slots=True)
class Sum:
    """constant + sum(coefficient * atom), over the integers; equal to its term modulo 2**width.

    Atoms are unsigned terms of any width, keyed by their z3 identity.
    """

    constant: int
    parts: tuple[tuple[int, z3.BitVecRef], ...]
    width: int

    def bounds(self) -> tuple[int, int]:
        """Lowest and highest value the sum can have, not reduced modulo 2**width."""
        low = high = self.constant
        for coefficient, atom in self.parts:
            least, most = _atom_range(atom)
            ends = (coefficient * least, coefficient * most)
            low, high = low + min(ends), high + max(ends)
        return low, high


_SUMS: dict[int, tuple[z3.BitVecRef, Sum]] = {}
_RANGES: dict[int, tuple[z3.BitVecRef, tuple[int, int]]] = {}


def as_sum(term: z3.BitVecRef) -> Sum:
    """The term as a sum over the integers; congruent to it modulo 2**width."""
    known = _SUMS.get(term.get_id())
    if known:
        return known[1]
    total: dict[int, tuple[int, z3.BitVecRef]] = {}
    constant = 0
    for coefficient, atom in _monomials(term, 1):
        if atom is None:
            constant += coefficient
            continue
        before = total.get(atom.get_id(), (0, atom))[0]
        total[atom.get_id()] = (before + coefficient, atom)
    width = term.size()
    parts = tuple(part for part in total.values() if part[0] % (1 << width))
    result = Sum(_centred(constant, width), parts, width)
    _SUMS[term.get_id()] = (term, result)  # the term is kept: z3 reuses the ids of dead terms
    return result


def value_range(term: z3.BitVecRef) -> tuple[int, int]:
    """Lowest and highest unsigned value of the term, whatever its variables are."""
    known = _RANGES.get(term.get_id())
    if known:
        return known[1]
    total = as_sum(term)
    whole = 1 << term.size()
    low, high = total.bounds()
    turns = low // whole
    result = (low - turns * whole, high - turns * whole) if turns == high // whole else None
    result = result or (0, whole - 1)
    _RANGES[term.get_id()] = (term, result)
    return result


def distance_bounds(first: z3.BitVecRef, second: z3.BitVecRef) -> tuple[int, int] | None:
    """Bounds of first - second as an integer; None where either may wrap around."""
    whole = 1 << first.size()
    for term in (first, second):
        low, high = as_sum(term).bounds()
        if low < 0 or high >= whole:
            return None
    return as_sum(simplify(first - second)).bounds()


def trailing_zeros(term: z3.BitVecRef) -> int:
    """Low bits that are zero whatever the variables are."""
    total = as_sum(term)
    counts = [_zeros(coefficient) + _atom_zeros(atom) for coefficient, atom in total.parts]
    return min([term.size(), _zeros(total.constant), *counts])


def low_bits(term: z3.BitVecRef, count: int) -> int | None:
    """The value of the lowest `count` bits where the variables have no part in it, else None."""
    total = as_sum(term)
    fixed = all(
        _zeros(coefficient) + _atom_zeros(atom) >= count for coefficient, atom in total.parts
    )
    return total.constant % (1 << count) if fixed else None


def _zeros(value: int) -> int:
    return (value & -value).bit_length() - 1 if value else WORD


def _atom_zeros(atom: z3.BitVecRef) -> int:
    if atom.decl().kind() == z3.Z3_OP_ITE:
        return min(trailing_zeros(atom.arg(1)), trailing_zeros(atom.arg(2)))
    return 0


def is_plain(term: z3.BitVecRef) -> bool:
    """Whether the term is a sum of variables: nothing that a name would make simpler."""
    return all(
        atom.decl().kind() == z3.Z3_OP_UNINTERPRETED for _, atom in as_sum(term).parts
    )


def _centred(value: int, width: int) -> int:
    """The residue of `value` that is nearest to zero."""
    half = 1 << (width - 1)
    return (value + half) % (1 << width) - half


def _monomials(term: z3.BitVecRef, factor: int) -> Iterator[tuple[int, z3.BitVecRef | None]]:
    """(coefficient, atom) pairs; atom None for a constant.  Coefficients stay near zero."""
    kind, width = term.decl().kind(), term.size()
    if kind == z3.Z3_OP_BNUM:
        yield factor * _centred(term.as_long(), width), None
    elif kind == z3.Z3_OP_BADD:
        for part in term.children():
            yield from _monomials(part, factor)
    elif kind == z3.Z3_OP_BSUB:
        yield from _monomials(term.arg(0), factor)
        yield from _monomials(term.arg(1), -factor)
    elif kind == z3.Z3_OP_BNEG:
        yield from _monomials(term.arg(0), -factor)
    elif kind == z3.Z3_OP_BMUL and z3.is_bv_value(term.arg(0)) and term.num_args() == 2:
        yield from _monomials(term.arg(1), factor * _centred(term.arg(0).as_long(), width))
    elif kind in (z3.Z3_OP_CONCAT, z3.Z3_OP_ZERO_EXT):
        yield from _digits(term, factor)
    else:
        yield factor, term


def _digits(term: z3.BitVecRef, factor: int) -> Iterator[tuple[int, z3.BitVecRef | None]]:
    """A concatenation as a number: each part an unsigned digit, exact where it cannot wrap."""
    shift = 0
    for part in reversed(term.children()):
        if z3.is_bv_value(part):
            yield factor * (part.as_long() << shift), None
        else:
            low, high = as_sum(part).bounds()
            if 0 <= low and high < 1 << part.size():
                yield from _monomials(part, factor << shift)
            else:
                yield factor << shift, part
        shift += part.size()


def _atom_range(atom: z3.BitVecRef) -> tuple[int, int]:
    kind, full = atom.decl().kind(), (0, (1 << atom.size()) - 1)
    if kind == z3.Z3_OP_ITE:
        (low, high), (least, most) = value_range(atom.arg(1)), value_range(atom.arg(2))
        return min(low, least), max(high, most)
    if kind == z3.Z3_OP_EXTRACT:
        top, bottom = atom.params()
        low, high = value_range(atom.arg(0))
        if high >> (top + 1) == low >> (top + 1):
            mask = (1 << (top + 1)) - 1
            return (low & mask) >> bottom, (high & mask) >> bottom
    if kind == z3.Z3_OP_BAND:
        return 0, min(value_range(part)[1] for part in atom.children())
    return full
