"""Bit-vector terms as sums over the integers: one normal form, and value ranges without a solver.

Everything here is exact or says nothing: a range that cannot be told is the full range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import z3

from proofs.literals import WORD, constant_of, number, width_of
from proofs.remember import remembered


@dataclass(frozen=True, slots=True)
class Sum:
    """constant + sum(coefficient * atom), over the integers; equal to its term modulo 2**width.

    Atoms are unsigned terms of any width, ordered by their z3 identity; constant and coefficients
    are the residues nearest to zero, so that small distances are small numbers.
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

    def minus(self, other: Sum) -> Sum:
        """The difference, congruent to that of the terms."""
        negated = [(-coefficient, atom) for coefficient, atom in other.parts]
        return _collected((*self.parts, *negated), self.constant - other.constant, self.width)

    def term(self) -> z3.BitVecRef:
        """The sum as a term; equal sums give the identical term."""
        pieces = [_scaled(coefficient, atom, self.width) for coefficient, atom in self.parts]
        if self.constant or not pieces:
            pieces.append(number(self.constant, self.width))
        total = pieces[0]
        for piece in pieces[1:]:
            total = total + piece
        return total


@remembered
def as_sum(term: z3.BitVecRef) -> Sum:
    """The term as a sum over the integers; congruent to it modulo 2**width."""
    atoms, constant = [], 0
    for coefficient, atom in _monomials(term, 1):
        if atom is None:
            constant += coefficient
        else:
            atoms.append((coefficient, atom))
    return _collected(atoms, constant, term.size())


def simplify(term: z3.BitVecRef) -> z3.BitVecRef:
    """The normal form: terms that are equal as sums become the identical term."""
    constant = constant_of(term)
    return _normal(term) if constant is None else number(constant, width_of(term))


@remembered
def _normal(term: z3.BitVecRef) -> z3.BitVecRef:
    return as_sum(term).term()


def value_range(term: z3.BitVecRef) -> tuple[int, int]:
    """Lowest and highest unsigned value of the term, whatever its variables are."""
    constant = constant_of(term)
    return _range(term) if constant is None else (constant, constant)


@remembered
def _range(term: z3.BitVecRef) -> tuple[int, int]:
    whole = 1 << term.size()
    low, high = as_sum(term).bounds()
    turns = low // whole
    if turns != high // whole:
        return 0, whole - 1
    return low - turns * whole, high - turns * whole


def constant_distance(first: z3.BitVecRef, second: z3.BitVecRef) -> int | None:
    """first - second modulo 2**width, nearest to zero, where the variables cancel out."""
    one, other = constant_of(first), constant_of(second)
    if one is not None and other is not None:
        return _centred(one - other, width_of(first))
    return _distance(first, second)


@remembered
def _distance(first: z3.BitVecRef, second: z3.BitVecRef) -> int | None:
    difference = as_sum(first).minus(as_sum(second))
    return None if difference.parts else difference.constant


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


def is_plain(term: z3.BitVecRef) -> bool:
    """Whether the term is a sum of variables: nothing that a name would make simpler."""
    return all(atom.decl().kind() == z3.Z3_OP_UNINTERPRETED for _, atom in as_sum(term).parts)


@remembered
def distance_bounds(first: z3.BitVecRef, second: z3.BitVecRef) -> tuple[int, int] | None:
    """Bounds of first - second as an integer; None where either may wrap around."""
    sums = as_sum(first), as_sum(second)
    starts = []
    for total in sums:
        whole = 1 << total.width
        low, high = total.bounds()
        if low // whole != high // whole:
            return None
        starts.append(low // whole * whole)
    low, high = sums[0].minus(sums[1]).bounds()
    # The difference was reduced too: bring it back to where the two ranges put it.
    (low_a, high_a), (low_b, high_b) = (value_range(term) for term in (first, second))
    whole = 1 << sums[0].width
    shifts = {
        turns
        for turns in (-1, 0, 1)
        if low + turns * whole <= high_a - low_b and high + turns * whole >= low_a - high_b
    }
    if len(shifts) != 1:
        return None
    turns = shifts.pop()
    return low + turns * whole, high + turns * whole


def _collected(atoms, constant: int, width: int) -> Sum:
    total: dict[int, list] = {}
    for coefficient, atom in atoms:
        entry = total.setdefault(atom.get_id(), [0, atom])
        entry[0] += coefficient
    parts = [
        (_centred(coefficient, width), atom)
        for _, (coefficient, atom) in sorted(total.items())
        if coefficient % (1 << width)
    ]
    return Sum(_centred(constant, width), tuple(parts), width)


def _centred(value: int, width: int) -> int:
    """The residue of `value` that is nearest to zero."""
    half = 1 << (width - 1)
    return (value + half) % (1 << width) - half


def _scaled(coefficient: int, atom: z3.BitVecRef, width: int) -> z3.BitVecRef:
    if atom.size() > width:  # an exact cut, of a choice between small numbers for one
        atom = z3.Extract(width - 1, 0, atom)
    shift = _zeros(coefficient)
    if atom.size() + shift <= width and abs(coefficient) == 1 << shift:
        pieces = [number(0, width - atom.size() - shift)] if atom.size() + shift < width else []
        pieces += [atom] + ([number(0, shift)] if shift else [])
        piece = z3.Concat(*pieces) if len(pieces) > 1 else atom
        return piece if coefficient > 0 else -piece
    wide = z3.ZeroExt(width - atom.size(), atom) if atom.size() < width else atom
    return number(coefficient, width) * wide


def _zeros(value: int) -> int:
    return (value & -value).bit_length() - 1 if value else WORD


def _atom_zeros(atom: z3.BitVecRef) -> int:
    if atom.decl().kind() == z3.Z3_OP_ITE:
        return min(trailing_zeros(atom.arg(1)), trailing_zeros(atom.arg(2)))
    return 0


def _monomials(term: z3.BitVecRef, factor: int) -> Iterator[tuple[int, z3.BitVecRef | None]]:
    """(coefficient, atom) pairs; atom None for a constant."""
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
    elif kind == z3.Z3_OP_UNINTERPRETED:
        yield factor, term
    elif kind == z3.Z3_OP_EXTRACT:
        yield from _extracted(term, factor)
    elif kind == z3.Z3_OP_ITE:
        yield from _chosen(term, factor)
    else:
        simpler = z3.simplify(term)
        if simpler.decl().kind() in _SUM_KINDS:
            yield from _monomials(simpler, factor)
        else:
            yield factor, simpler


def _extracted(term: z3.BitVecRef, factor: int) -> Iterator[tuple[int, z3.BitVecRef | None]]:
    """A division where it is exact and nothing is cut off above; z3's own rewriting would turn
    sums into disjunctions of bits."""
    top, bottom = term.params()
    source = as_sum(term.arg(0))
    low, high = source.bounds()
    unit = 1 << bottom
    whole = [(coefficient >> bottom, atom) for coefficient, atom in source.parts
             if coefficient % unit == 0]  # fmt: skip
    below = tuple(part for part in source.parts if part[0] % unit)
    least, most = Sum(source.constant % unit, below, source.width).bounds()
    exact = least >= 0 and most < unit  # what is no multiple of the unit stays below it
    if not source.parts:
        value = source.constant % (1 << source.width) >> bottom
        yield factor * (value % (1 << (top - bottom + 1))), None
    elif exact and low >= 0 and high < 1 << (top + 1):
        yield factor * (source.constant >> bottom), None
        for coefficient, atom in whole:
            yield factor * coefficient, atom
    else:
        yield factor, z3.Extract(top, bottom, source.term())


def _chosen(term: z3.BitVecRef, factor: int) -> Iterator[tuple[int, z3.BitVecRef | None]]:
    condition, yes, no = term.children()
    if z3.is_true(condition) or z3.is_false(condition):
        yield from _monomials(yes if z3.is_true(condition) else no, factor)
    else:
        yield factor, z3.If(condition, simplify(yes), simplify(no))


_SUM_KINDS = frozenset(
    (z3.Z3_OP_BNUM, z3.Z3_OP_BADD, z3.Z3_OP_CONCAT, z3.Z3_OP_ZERO_EXT, z3.Z3_OP_UNINTERPRETED)
)


def _digits(term: z3.BitVecRef, factor: int) -> Iterator[tuple[int, z3.BitVecRef | None]]:
    """A concatenation as a number: each part an unsigned digit, taken apart if it cannot wrap."""
    shift = 0
    for part in reversed(term.children()):
        whole = _cleared(part, shift, term.size())
        if whole is not None:
            yield factor * whole.constant, None
            for coefficient, atom in whole.parts:
                yield factor * coefficient, atom
            return
        total = as_sum(part)
        low, high = total.bounds()
        if not total.parts:
            yield factor * (total.constant % (1 << part.size()) << shift), None
        elif low >= 0 and high < 1 << part.size():
            yield factor * (total.constant << shift), None
            for coefficient, atom in total.parts:
                yield factor * (coefficient << shift), atom
        else:
            yield factor << shift, total.term()
        shift += part.size()


def _cleared(part: z3.BitVecRef, shift: int, width: int) -> Sum | None:
    """All of a term but its lowest `shift` bits, where those are known: the term less their value.

    That is right modulo 2**width, although the term itself may wrap around.
    """
    if part.decl().kind() != z3.Z3_OP_EXTRACT or part.params() != [width - 1, shift]:
        return None
    source = part.arg(0)
    below = low_bits(source, shift) if source.size() == width else None
    if below is None:
        return None
    return as_sum(source).minus(Sum(below, (), width))


@remembered
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
