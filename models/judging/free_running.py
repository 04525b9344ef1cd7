"""The judge of free-running threads: what was seen, in the order of its stamps, and how it ended.

A block lives from the stamp behind the call that granted it to the one before the call that
released it: two that share a byte in between were both live, whatever the schedule was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from models.contract import Contract
from models.judging.answers import judge_failure_errno, judge_free_errno, judge_zero_answer
from models.judging.case import RETURNED, SKIPPED, Case, answer
from models.judging.damages import judge_damages
from models.judging.endings import CannotJudge, ending_rule, ending_text
from models.judging.grants import judge_grant
from models.observation import Observation, Outcome, Run, Seen, Stage
from models.rules import ALL, BLACK_BOX, PRECEDENCE, RULES
from models.trace import ALLOCATING, Kind, Op, Trace
from models.verdict import Verdict, Violation

BEGUN, LEFT = int(Seen.BEGUN), int(Seen.LEFT)
_LOW = 2**32


def judge_race(trace: Trace, run: Run, contract: Contract, rules: frozenset[str] = ALL) -> Verdict:
    """The verdict on one round of a trace whose threads ran freely.

    Rules that need an order which nobody has seen keep silent.  Of several violations the most
    telling one comes first.  Raises CannotJudge when the harness failed.
    """
    if run.stage is Stage.RESTORE and run.outcome is not Outcome.FINISHED:
        raise CannotJudge(f"the harness ended with {run.outcome.name} while restoring the subject")
    plain = replace(run, observations=tuple(replace(one, granted=0) for one in run.observations))
    case = Case(trace, plain, contract, frozenset(rules))
    for _, index, released in sorted(_events(trace, run)):
        _live(case, index, released)
    for index, (op, seen) in enumerate(zip(trace.ops, plain.observations, strict=False)):
        _judge_answer(case, index, op, seen)
    if run.race:
        case.charge(len(trace), ("race", run.race))
    _judge_ending(case)
    judge_damages(case)
    found = sorted(set(case.found), key=_rank)
    return Verdict(found[0] if found else None, tuple(found))


def _rank(violation: Violation) -> tuple[bool, int, int]:
    is_white = RULES[violation.rule].layer != BLACK_BOX
    return is_white, PRECEDENCE[violation.rule], violation.op


def _events(trace: Trace, run: Run) -> Iterator[tuple[int, int, bool]]:
    """(stamp, operation, whether it is a release) of all that became live or ceased to be."""
    for index, seen in enumerate(run.observations[: len(trace)]):
        released, granted = divmod(seen.granted, _LOW)
        if released:
            yield released, index, True
        if granted and seen.address:
            yield granted, index, False


def _live(case: Case, index: int, released: bool) -> None:
    op = case.trace.ops[index]
    if released:
        case.heap.free(op.first)
    else:
        judge_grant(case, index, op, case.run.observations[index])


def _judge_answer(case: Case, index: int, op: Op, seen: Observation) -> None:
    if seen.flags & SKIPPED or not seen.flags & RETURNED:
        return
    if op.kind is Kind.FREE:
        judge_free_errno(case, index, seen)
    if op.kind not in ALLOCATING:
        return
    if not op.size:
        judge_zero_answer(case, index, op, seen)
    if not answer(op, seen):
        judge_failure_errno(case, index, op, seen)


def _judge_ending(case: Case) -> None:
    """A thread that did not come back: what it was doing, and what the others were waiting in."""
    run = case.run
    rule = ending_rule(run)
    if rule is None:
        return
    told = ending_text(case)
    if run.stage is Stage.INIT:
        case.charge(0, (rule, f"init {told}"))
        return
    left = [index for index, seen in enumerate(run.observations) if seen.flags & LEFT]
    under_way = [
        index
        for index, seen in enumerate(run.observations[: len(case.trace)])
        if seen.flags & BEGUN and not seen.flags & RETURNED
    ]
    if run.outcome is Outcome.HANG:
        _judge_hang(case, told, under_way)
        return
    at = next((index for index in left if index < len(case.trace)), len(case.trace))
    case.charge(at, (rule, told))


def _judge_hang(case: Case, told: str, under_way: list[int]) -> None:
    """Time spent in nobody's call is the executor's own."""
    if not under_way:
        return
    first, *others = under_way
    also = "".join(f", {case.where(index)} too" for index in others[:3])
    case.charge(first, ("hang", f"{told}{also}"))
