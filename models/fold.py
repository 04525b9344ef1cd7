"""A trace that repeats itself, folded: what stands before, one cycle, how often, what follows.

It changes names only; the shrinker tries what can be left out of each part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from models.cycles import repeat
from models.judging.repetition import LEAST, repeated
from models.trace import ALLOCATING, MAX_OPS, NIL, Kind, Op, Trace


@dataclass(frozen=True, slots=True)
class Folded:
    """`body` and the free_all behind it come `count` times; no part uses another one's names."""

    head: tuple[Op, ...]
    body: tuple[Op, ...]
    count: int
    tail: tuple[Op, ...]


def fold(trace: Trace) -> Folded | None:
    """The trace folded at its longest row of cycles, None where it has no row of 7 or more."""
    rows = list(repeated(trace.ops, LEAST))
    if not rows:
        return None
    row = max(rows, key=lambda one: one[-1].end - one[0].start)
    start, end = row[0].start, row[-1].end
    body = trace.ops[start : row[0].end - 1]
    parts = (trace.ops[:start], body, trace.ops[end:])
    head, body, tail = (renamed(closed(Trace(part))).ops for part in parts)
    return Folded(head, body, len(row), tail)


def unfold(folded: Folded, trace: Trace) -> Trace:
    """The whole trace, with the header of `trace` and its names counted in order."""
    ops = list(closed(Trace(folded.head)).ops)
    cycle = (*closed(Trace(folded.body)).ops, Op(Kind.FREE_ALL))
    ops += repeat(cycle, folded.count, _fresh(ops))
    ops += repeat(closed(Trace(folded.tail)).ops, 1, _fresh(ops))
    return renamed(trace.with_ops(ops))


def renamed(trace: Trace) -> Trace:
    """The same trace with its names counted p0, p1, ... in the order in which they are made."""
    numbers = {NIL: NIL}
    ops = []
    for op in trace:
        first = op.first if op.block is None else numbers[op.first]
        name = op.name
        if op.kind in ALLOCATING:
            name = numbers[op.name] = len(numbers) - 1
        ops.append(replace(op, name=name, first=first))
    return trace.with_ops(ops)


def closed(trace: Trace) -> Trace:
    """The trace without the operations on names that nothing makes before them."""
    made = {NIL}
    ops = []
    for op in trace:
        if op.block is not None and op.block not in made:
            continue
        if op.kind in ALLOCATING:
            if op.name in made or op.name >= MAX_OPS:
                continue
            made.add(op.name)
        ops.append(op)
    return trace.with_ops(ops)


def _fresh(ops: Iterable[Op]) -> int:
    return 1 + max((op.name for op in ops if op.kind in ALLOCATING), default=-1)
