"""The trace shrinker: a smaller trace that still fails, by trying; operations, never bytes.

It runs nothing itself and knows no rule: the caller's predicate says whether a trace still fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import combinations

from models.fold import Folded, closed, fold, renamed, unfold
from models.simplify import (
    least_accepted,
    lower,
    lower_numbers,
    plainer_ops,
    resized,
    rungs,
    simpler_stores,
)
from models.trace import ALLOCATING, NIL, Kind, Op, Trace

BUDGET = 500
_LONG = 200
_SHORT = 40
_FEW = 6
_OF_THREADS = (Kind.THREAD, Kind.END_THREAD)

Predicate = Callable[[Trace], bool]


class _Spent(Exception):
    """No executions are left."""


def shrink(trace: Trace, still_fails: Predicate, budget: int = BUDGET) -> Trace:
    """The smallest failing trace found with at most `budget` calls of `still_fails`.

    `trace` itself is taken to fail and is not tried.  Deterministic; shrinking a result again
    with the budget it needs changes nothing.  The result is well-formed: each operand's name is
    made before it.  A trace that lives by its repetition keeps its cycles alike.
    """
    search = _Search(trace, _limited(still_fails, budget))
    with suppress(_Spent):
        search.offer(closed(trace))
        before = None
        while before != search.best:
            before = search.best
            search.cut_tail()
            if not _shrink_cycles(search):
                search.round()
    return search.best


def _limited(still_fails: Predicate, budget: int) -> Predicate:
    left = budget

    def limited(trace: Trace) -> bool:
        nonlocal left
        if not left:
            raise _Spent
        left -= 1
        return still_fails(trace)

    return limited


def _shrink_cycles(search: _Search) -> bool:
    """Shrinks a trace with repeated cycles part by part; False where there are none (left)."""
    folded = fold(search.best)

    def accept(candidate: Folded) -> bool:
        nonlocal folded
        if search.offer(unfold(candidate, search.best)):
            folded = candidate
            return True
        return False

    if folded is None or not accept(folded):
        return False
    before = None
    while before != folded:
        before = folded
        accept(replace(folded, tail=()))
        accept(replace(folded, head=()))
        least_accepted(folded.count, lambda count: accept(replace(folded, count=count)))
        search.lower_store()
        for part in ("head", "body", "tail"):
            whole = Trace(getattr(folded, part))
            inner = _Search(whole, lambda one, at=part: accept(replace(folded, **{at: one.ops})))
            inner.round()
    return fold(search.best) is not None


class _Search:
    """The best trace so far, and what was tried already."""

    def __init__(self, trace: Trace, fails: Predicate) -> None:
        self.best = trace
        self._fails = fails
        self._tried: dict[tuple, bool] = {_key(trace): True}

    def offer(self, candidate: Trace) -> bool:
        """Takes the candidate if it still fails."""
        key = _key(candidate)
        if key not in self._tried:
            self._tried[key] = self._fails(candidate)
        if self._tried[key]:
            self.best = candidate
        return self._tried[key]

    def offer_ops(self, ops: Iterable[Op]) -> bool:
        """The same for the operations alone, made well-formed first."""
        return self.offer(closed(self.best.with_ops(ops)))

    def round(self) -> None:
        """Every way of making the trace smaller, once."""
        self._drop_chunks()
        self._drop_lives()
        self._drop_pairs()
        self._merge_threads()
        self._make_plainer()
        self._lower_numbers()
        self._lower_pairs()
        self.lower_store()
        self.offer(renamed(self.best))

    def cut_tail(self) -> None:
        """Looks for the end of the trace by bisection: what follows the failure goes first."""
        ops = self.best.ops
        least_accepted(len(ops), lambda end: self.offer_ops(ops[:end]))

    def _drop_chunks(self) -> None:
        """Removes runs of operations, long ones first, from the end to the front."""
        size = max(1, len(self.best) // 2)
        # Single operations of a long trace are left alone: it lives by its repetition.
        smallest = 1 if len(self.best) <= _LONG else len(self.best) // 64
        while size >= smallest:
            end = len(self.best)
            while end > 0:
                start = max(0, end - size)
                self.offer_ops(self.best.ops[:start] + self.best.ops[end:])
                end = min(start, len(self.best))
            size //= 2

    def _drop_lives(self) -> None:
        """Removes everything that is done with one block, or only a realloc in its life."""
        for op in [op for op in self.best if op.kind in ALLOCATING]:
            if op.kind is Kind.REALLOC and op.first != NIL and op in self.best.ops:
                others = [each for each in self.best if each is not op]
                self.offer_ops(_called(each, op.name, op.first) for each in others)
            if op in self.best.ops:
                self.offer_ops(each for each in self.best if op.name not in (each.name, each.block))

    def _drop_pairs(self) -> None:
        """Removes two operations that lie close together and need each other."""
        if len(self.best) > _SHORT:
            return
        for first in range(len(self.best) - 1, -1, -1):
            for second in range(first - 1, max(first - 4, -1), -1):
                ops = self.best.ops
                if first < len(ops):
                    self.offer_ops(ops[:second] + ops[second + 1 : first] + ops[first + 1 :])

    def _merge_threads(self) -> None:
        """What one thread does, a lower one does instead."""
        numbers = sorted({op.first for op in self.best if op.kind in _OF_THREADS}, reverse=True)
        for number in numbers:
            for other in range(number):
                if self.offer_ops(_on(op, number, other) for op in self.best):
                    break

    def _make_plainer(self) -> None:
        """malloc instead of calloc, realloc and the aligned ones, and so on."""
        for index in range(len(self.best)):
            for plain in plainer_ops(self.best.ops[index]):
                if self._put(index, plain):
                    break

    def _lower_numbers(self) -> None:
        """Smaller numbers: first equal sizes together, then one at a time."""
        sizes = [op.first for op in self.best if op.kind is Kind.MALLOC]
        for size in sorted({size for size in sizes if sizes.count(size) > 1}):
            self._lower_together(size)
        if len(self.best) <= _LONG:
            for index in range(len(self.best)):
                lower_numbers(self.best.ops[index], lambda op, index=index: self._put(index, op))

    def _lower_together(self, size: int) -> None:
        """Lowers a size in all the mallocs that ask for it."""
        whole = self.best
        places = [op.kind is Kind.MALLOC and op.first == size for op in whole]

        def accept(value: int) -> bool:
            pairs = zip(whole, places, strict=True)
            return self.offer_ops(replace(op, first=value) if here else op for op, here in pairs)

        lower(size, accept)

    def _lower_pairs(self) -> None:
        """Lowers two sizes by the same amount: a bug may live by their difference."""
        sized = [index for index, op in enumerate(self.best) if _has_size(op)]
        if len(sized) > _FEW:
            return
        for first, second in combinations(sized, 2):
            ops = list(self.best.ops)
            least = min(ops[first].size, ops[second].size)
            for target in rungs(least):
                for index in (first, second):
                    ops[index] = resized(self.best.ops[index], target - least)
                if self.offer_ops(ops):
                    break

    def lower_store(self) -> None:
        """A smaller store, or the default."""
        for store in simpler_stores(self.best.store):
            if self.offer(replace(self.best, store=store)):
                return

    def _put(self, index: int, op: Op) -> bool:
        return self.offer_ops(_put(self.best.ops, index, op))


def _key(trace: Trace) -> tuple:
    return trace.store, trace.ops


def _put(ops: tuple[Op, ...], index: int, op: Op) -> tuple[Op, ...]:
    return (*ops[:index], op, *ops[index + 1 :])


def _on(op: Op, number: int, other: int) -> Op:
    """The operation with another number for its thread."""
    return replace(op, first=other) if op.kind in _OF_THREADS and op.first == number else op


def _called(op: Op, old: int, new: int) -> Op:
    """The operation with another name for its block."""
    return replace(op, first=new) if op.block == old else op


def _has_size(op: Op) -> bool:
    return op.kind in ALLOCATING and op.kind is not Kind.CALLOC
