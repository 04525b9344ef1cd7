"""The blocks of a running allocator after each operation of a trace, by its own walk.

For pictures: a walk of a broken heap may end anywhere, and then there is nothing to show.
"""

from __future__ import annotations

from itertools import pairwise

from allocator.executor import Executor, Sandboxed
from allocator.subject import Subject, SubjectError
from models.trace import Trace

LONGEST = 400  # operations: each is a call to the sandbox
Layout = list[tuple[int, int, int]]  # (offset, size, used) from the lowest block up


def walked(subject: Subject, trace: Trace) -> list[Layout | None]:
    """The layout in each state, offsets from the run's base; [] where the subject has no walk.

    Traces of more than LONGEST operations are left alone.
    """
    if "walk" not in subject.has or not 0 < len(trace) <= LONGEST:
        return []
    try:
        with Sandboxed(subject) as executor:
            return _stepped(executor, trace)
    except SubjectError:
        return []


def _stepped(executor: Executor, trace: Trace) -> list[Layout | None]:
    executor.begin(trace.store)
    base = executor.last_run().base
    layouts: list[Layout | None] = [_layout(executor, base)]
    for index, op in enumerate(trace):
        executor.step(op)
        if executor.region.done != index + 1:
            break
        layouts.append(_layout(executor, base))
        if layouts[-1] is None:
            break
    return layouts


def _layout(executor: Executor, base: int) -> Layout | None:
    """What the walk tells; None where it is no row of blocks."""
    blocks = sorted((start - base, size, used) for start, size, used in executor.layout())
    overlaps = any(one[0] + one[1] > two[0] for one, two in pairwise(blocks))
    return None if overlaps else blocks
