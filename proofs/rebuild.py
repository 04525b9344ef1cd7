"""From a heap that an induction began with to a program that leads there, on the compiled library.

A heap that no program was found for may be one that cannot come about: then the report says so
and shows it.  It judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, permutations

from allocator.executor import Executor, open_executor
from allocator.subject import Subject, SubjectError
from models.trace import DENY_ALL, NO_NAME, Kind, Op, Trace
from proofs.replay import Replay, replayed_on

TRIES = 120  # orders in which the free blocks may have been freed
LARGEST = 1 << 16


def reached(
    trace: Trace, built: int, subject: Subject, sandbox: bool | None = None
) -> tuple[Trace, Replay]:
    """The trace in the form in which the library breaks a rule, where one is found.

    built  how many of its operations were made up to lead to the heap: first mallocs, then frees.
    """
    opening, rest = trace.ops[:built], trace.ops[built:]
    made = [op for op in opening if op.kind is Kind.MALLOC]
    freed = [op for op in opening if op.kind is Kind.FREE]
    first: tuple[Trace, Replay] | None = None
    try:
        with open_executor(subject, sandbox) as executor:
            for ops in _openings(executor, trace, made, freed):
                candidate = replace(trace, ops=(*ops, *rest))
                outcome = replayed_on(executor, candidate, subject)
                if outcome.confirmed:
                    return candidate, outcome
                first = first or (candidate, outcome)
    except SubjectError as error:
        return trace, Replay("", f"not replayed: {str(error).splitlines()[0]}")
    assert first is not None
    note = "not reproduced: no program was found that leads to this heap, which may be unreachable"
    return first[0], Replay(first[1].rule, note)


def _openings(executor: Executor, trace: Trace, made, freed) -> Iterator[tuple[Op, ...]]:
    """Programs that may lead to the heap: with what is left of the memory taken, and as it is."""
    full = [*made, *_fillers(executor, trace, made)]
    for order in islice(permutations(freed), TRIES):
        for start in (full, made):
            yield (*start, *order)


def _fillers(executor: Executor, trace: Trace, made: list[Op]) -> list[Op]:
    """Requests that take all memory that the heap has left without more pages."""
    fillers: list[Op] = []
    while len(fillers) < 3:
        name = len(made) + len(fillers)
        size = _largest(executor, trace, [*made, *fillers], 100 + name)
        if size < 0:
            break
        fillers.append(Op(Kind.MALLOC, 100 + name, size))
    return fillers


def _largest(executor: Executor, trace: Trace, ops: list[Op], name: int) -> int:
    """The largest request that is served without pages, -1 if none is."""
    low, high = -1, LARGEST
    while high - low > 1:
        size = (low + high) // 2
        probe = (*ops, Op(Kind.DENY, NO_NAME, DENY_ALL), Op(Kind.MALLOC, name, size))
        run = executor.run(replace(trace, ops=probe))
        served = run.done == len(probe) and run.observations[len(probe) - 1].address != 0
        low, high = (size, high) if served else (low, size)
    return low


__all__ = ["reached"]
