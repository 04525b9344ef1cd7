"""What must come back: reclaim and footprint, in cycles that repeat and when nothing is live.

A cycle ends with free_all; consecutive cycles are the same when they differ in names only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from models.judging.case import REFUSED, SKIPPED, Case, answer
from models.observation import Observation
from models.trace import ALLOCATING, NIL, NO_NAME, Kind, Op

WARM_UP = 2
FALLS = 4
STEADY = 64
LEAST = WARM_UP + FALLS + 1


@dataclass(frozen=True, slots=True)
class Cycle:
    """Operations start..end-1 of a trace; the last one is free_all."""

    start: int
    end: int
    shape: tuple[tuple[int, ...], ...]
    quiet: bool  # nothing in it, and no deny from before it, keeps pages away


def judge_repetition(case: Case) -> None:
    """Judges every row of repeated cycles in the finished part of the run."""
    if not case.contract.reclaims or case.blurred:
        return
    for row in repeated(case.trace.ops[: case.run.done]):
        if not all(cycle.quiet for cycle in row) or _refused(case, row):
            continue
        _judge_capacity(case, row)
        _judge_footprint(case, row)


def judge_held(case: Case, index: int, seen: Observation) -> None:
    """Judges what is held after the operation that freed the last live block.

    What somebody else took at the program break may lie above memory that could go back.
    """
    blind = case.blurred or case.foreign or not case.run.memory_known
    if case.contract.gives_back and seen.granted and not blind:
        message = f"everything is freed, and {seen.granted} bytes of pages are still held"
        case.charge(index, ("reclaim", message))


def cycles_of(ops: tuple[Op, ...]) -> Iterator[Cycle]:
    """The cycles of a trace in order; what follows the last free_all is none."""
    start, deny = 0, False
    quiet = True
    for index, op in enumerate(ops):
        if op.kind is Kind.DENY:
            deny = op.first != 0
        quiet = quiet and not deny and op.kind not in (Kind.DENY, Kind.FOREIGN)
        if op.kind is Kind.FREE_ALL:
            yield Cycle(start, index + 1, shape_of(ops[start : index + 1]), quiet)
            start, quiet = index + 1, not deny


def repeated(ops: tuple[Op, ...], least: int = LEAST) -> Iterator[list[Cycle]]:
    """The rows of `least` or more consecutive cycles of one shape."""
    row: list[Cycle] = []
    for cycle in cycles_of(ops):
        if row and cycle.shape != row[0].shape:
            if len(row) >= least:
                yield row
            row = []
        row.append(cycle)
    if len(row) >= least:
        yield row


def shape_of(ops: tuple[Op, ...]) -> tuple[tuple[int, ...], ...]:
    """The operations with names counted from 0 in order; a name from before is -1."""
    numbers: dict[int, int] = {NIL: NIL}
    shape = []
    for op in ops:
        first = op.first if op.block is None else numbers.get(op.first, -1)
        if op.name != NO_NAME:
            numbers[op.name] = len(numbers) - 1
        shape.append((int(op.kind), first, op.second))
    return tuple(shape)


def _refused(case: Case, row: list[Cycle]) -> bool:
    seen = case.run.observations[row[0].start : row[-1].end]
    return any(one.flags & REFUSED for one in seen)


def _judge_capacity(case: Case, row: list[Cycle]) -> None:
    amounts = [_capacity(case, cycle) for cycle in row]
    for last in range(WARM_UP + FALLS, len(row)):
        window = amounts[last - FALLS : last + 1]
        falls = all(after < before for before, after in pairwise(window))
        if falls and max(amounts[last:]) == amounts[last]:
            told = ", ".join(map(str, window))
            message = f"the same cycle could have fewer bytes each time it was repeated: {told}"
            case.charge(row[last].end - 1, ("reclaim", message))
            return


def _capacity(case: Case, cycle: Cycle) -> int:
    """Bytes of the requests that were granted in a cycle."""
    total = 0
    for index in range(cycle.start, cycle.end):
        op, seen = case.trace.ops[index], case.run.observations[index]
        if op.kind in ALLOCATING and not seen.flags & SKIPPED and answer(op, seen):
            total += op.size
    return total


def _judge_footprint(case: Case, row: list[Cycle]) -> None:
    """Peaks are compared, so that a heap that grows and shrinks by turns is left alone."""
    count = len(row)
    if count < STEADY:
        return
    held = [case.run.observations[cycle.end - 1].granted for cycle in row]
    half, quarter = count // 2, count * 3 // 4
    first, third, fourth = max(held[:half]), max(held[half:quarter]), max(held[quarter:])
    if first < third < fourth:
        message = (
            f"one cycle repeated {count} times held {first} bytes of pages at most in the first "
            f"half, {third} in the third quarter, {fourth} in the last: it grows for ever"
        )
        case.charge(row[-1].end - 1, ("footprint", message))
