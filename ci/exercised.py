"""How often each rule could have fired on a run: the occasions, by the premise of each rule.

It judges nothing: a rule that was never exercised says nothing about a correct allocator.
"""

from __future__ import annotations

from collections import Counter

from models.contract import PTRDIFF_MAX
from models.judging.case import answer, is_null
from models.observation import Observation, Run, Seen
from models.rules import RULES, WHITE_BOX
from models.trace import ALLOCATING, MISUSES, Kind, Op, Trace

_CALLS = ("hang", "abort", "exit", "crash")
_GRANTS = ("alignment", "overlap", "bounds")
_WHITE = tuple(name for name, rule in RULES.items() if rule.layer == WHITE_BOX)
_CYCLES = 4  # a trace that is closed so often is one of repeated cycles
_REFUSED = Seen.REFUSED | Seen.CAPPED


def occasions(trace: Trace, run: Run) -> Counter[str]:
    """By rule, how many operations of a run it was judged on; cycles for reclaim and footprint."""
    found: Counter[str] = Counter()
    closed = sum(op.kind is Kind.FREE_ALL for op in trace)
    if closed >= _CYCLES:
        found.update({"reclaim": closed, "footprint": closed})
    for index, (op, seen) in enumerate(zip(trace, run.observations, strict=False)):
        if seen.flags & Seen.SKIPPED:
            continue
        if index == run.done:  # a promised detection may end the program
            found.update(["misuse"] * (op.kind in MISUSES))
            continue
        found.update(_of_call(op, seen))
        if op.kind in ALLOCATING:
            found.update(_of_request(op, seen))
    return found


def _of_call(op: Op, seen: Observation) -> list[str]:
    """Any operation."""
    rules = [*_CALLS, *_WHITE, "model"]
    if op.kind in (Kind.FREE, Kind.FREE_ALL, Kind.WRITE, Kind.REALLOC):
        rules.append("content")
    if op.kind is Kind.FREE:
        rules.append("errno")
    if op.kind in (Kind.FREE, Kind.REALLOC) and is_null(op):
        rules.append("null")
    if op.kind in MISUSES:
        rules.append("misuse")
    if seen.flags & _REFUSED:
        rules.append("oom")
    return rules


def _of_request(op: Op, seen: Observation) -> list[str]:
    """An allocation, granted or not."""
    rules = ["refusal"] if op.size > PTRDIFF_MAX else []
    if not op.size:
        rules.append("zero_size")
    moved = op.kind is Kind.REALLOC and not is_null(op)
    if not answer(op, seen):
        return [*rules, "errno", *(["survival"] if moved else [])]
    rules += _GRANTS
    if seen.usable:
        rules.append("usable")
    if op.kind is Kind.CALLOC:
        rules.append("zeroed")
    return [*rules, *(["prefix"] if moved else [])]
