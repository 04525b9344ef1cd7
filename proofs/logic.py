"""A small logic that works on plain integers and on z3 terms alike, and folds what is plain.

Unsigned throughout: Python's operators on z3 bit-vectors compare signed, these do not.
Comparisons are decided by value ranges where those suffice; no solver is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import z3

from proofs.remember import remembered
from proofs.terms import constant_distance, constant_of, distance_bounds, low_bits, value_range

Number = int | z3.BitVecRef
Truth = bool | z3.BoolRef


def plain(truth: Truth) -> bool | None:
    """The truth value if it is already decided, else None; noted on the term, for z3 is slow."""
    if truth.__class__ is bool or not z3.is_expr(truth):
        return truth
    noted = truth.__dict__
    if "decided" not in noted:
        kind = truth.decl().kind()
        noted["decided"] = _DECIDED.get(kind)
    return noted["decided"]


_DECIDED = {z3.Z3_OP_TRUE: True, z3.Z3_OP_FALSE: False}


def negate(truth: Truth) -> Truth:
    """not truth."""
    decided = plain(truth)
    if decided is not None:
        return not decided
    return truth.arg(0) if z3.is_not(truth) else z3.Not(truth)


def every(*truths: Truth) -> Truth:
    """All of them."""
    open_ = []
    for truth in truths:
        decided = plain(truth)
        if decided is None:
            open_.append(truth)
        elif not decided:
            return False
    return (z3.And(open_) if len(open_) > 1 else open_[0]) if open_ else True


def some(*truths: Truth) -> Truth:
    """At least one of them."""
    open_ = []
    for truth in truths:
        decided = plain(truth)
        if decided is None:
            open_.append(truth)
        elif decided:
            return True
    return (z3.Or(open_) if len(open_) > 1 else open_[0]) if open_ else False


def agree(first: Truth, second: Truth) -> Truth:
    """Both true or both false."""
    for one, other in ((first, second), (second, first)):
        decided = plain(one)
        if decided is not None:
            return other if decided else negate(other)
    return first == second


def condition(truth: Truth) -> z3.BoolRef:
    """The truth as a z3 term."""
    return truth if z3.is_expr(truth) else z3.BoolVal(truth)


def equal(first: Number, second: Number) -> Truth:
    """first == second."""
    return compare("eq", first, second)


def at_most(first: Number, second: Number) -> Truth:
    """first <= second, unsigned."""
    return compare("ule", first, second)


def less(first: Number, second: Number) -> Truth:
    """first < second, unsigned."""
    return compare("ult", first, second)


@remembered
def is_aligned(address: Number, alignment: int) -> Truth:
    """address is a multiple of `alignment`, a power of two."""
    if isinstance(address, int):
        return address % alignment == 0
    count = alignment.bit_length() - 1
    known = low_bits(address, count)
    return z3.Extract(count - 1, 0, address) == 0 if known is None else known == 0


def one_of(value: Number, choices: Sequence[Number]) -> Truth:
    """value is among the choices."""
    return some(*(equal(value, choice) for choice in choices))


def compare(predicate: str, first: Number, second: Number) -> Truth:
    """The comparison that LLVM's icmp calls `predicate`."""
    one, other = (term if isinstance(term, int) else constant_of(term) for term in (first, second))
    if one is not None and other is not None and predicate in _ON_DISTANCE:
        return _ON_DISTANCE[predicate](one - other)
    return _compared(predicate, first, second)


@remembered
def _compared(predicate: str, first: Number, second: Number) -> Truth:
    width = first.size() if z3.is_expr(first) else second.size()
    first, second = (
        term if z3.is_expr(term) else z3.BitVecVal(term, width) for term in (first, second)
    )
    if predicate in _SIGNED:
        half = 1 << (width - 1)
        if any(value_range(term)[1] >= half for term in (first, second)):
            truth = z3.simplify(_SIGNED[predicate](first, second))
            decided = plain(truth)
            return truth if decided is None else decided
        predicate = "u" + predicate[1:]
    if predicate in ("eq", "ne") and (apart := constant_distance(first, second)) is not None:
        return (apart == 0) == (predicate == "eq")
    bounds = distance_bounds(first, second)
    if bounds is not None:
        low, high = bounds
        telling = {distance for distance in (low, high, 0, 1, -1) if low <= distance <= high}
        answers = {_ON_DISTANCE[predicate](distance) for distance in telling}
        if len(answers) == 1:
            return answers.pop()
    chosen = _choice(predicate, first, second)
    return _COMPARE[predicate](first, second) if chosen is None else chosen


def _choice(predicate: str, first: z3.BitVecRef, second: z3.BitVecRef) -> Truth | None:
    """A truth value that was made a number (if c then 1 else 0) and is now tested again."""
    if predicate not in ("eq", "ne") or constant_of(second) is None:
        return None
    if first.decl().kind() != z3.Z3_OP_ITE:
        return None
    yes, no = (constant_of(branch) for branch in first.children()[1:])
    if yes is None or no is None or yes == no:
        return None
    wanted = constant_of(second)
    hit = first.arg(0) if yes == wanted else negate(first.arg(0)) if no == wanted else False
    return hit if predicate == "eq" else negate(hit)


_ON_DISTANCE: dict[str, Callable[[int], bool]] = {
    "eq": lambda distance: distance == 0,
    "ne": lambda distance: distance != 0,
    "ult": lambda distance: distance < 0,
    "ule": lambda distance: distance <= 0,
    "ugt": lambda distance: distance > 0,
    "uge": lambda distance: distance >= 0,
}
_COMPARE: dict[str, Callable] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: z3.Not(a == b),
    "ult": z3.ULT,
    "ule": z3.ULE,
    "ugt": z3.UGT,
    "uge": z3.UGE,
}
_SIGNED: dict[str, Callable] = {
    "slt": lambda a, b: a < b,
    "sle": lambda a, b: a <= b,
    "sgt": lambda a, b: a > b,
    "sge": lambda a, b: a >= b,
}
