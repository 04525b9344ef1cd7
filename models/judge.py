"""The judge: what an allocator showed in one run, held against its contract and the rules.

It executes nothing and knows no allocator; the rules themselves are in models/judging/ by family.
"""

from __future__ import annotations

from collections.abc import Callable

from models.contract import Contract
from models.judging.answers import (
    Doubt,
    Recovery,
    doubt_of,
    judge_failure_errno,
    judge_free_errno,
    judge_misuse,
    judge_zero_answer,
    settle_doubt,
)
from models.judging.case import REFUSED, RETURNED, SKIPPED, Case, answer
from models.judging.damages import judge_damages
from models.judging.endings import CannotJudge, judge_ending
from models.judging.grants import judge_grant
from models.judging.prediction import ExactModel, compare
from models.judging.repetition import judge_held, judge_repetition
from models.observation import Observation, Run
from models.rules import ALL, BLACK_BOX, MODEL, PRECEDENCE, RULES, WHITE_BOX
from models.trace import ALLOCATING, DENY_ALL, MISUSES, Kind, Op, Trace
from models.verdict import Verdict, Violation

__all__ = ["CannotJudge", "ExactModel", "Predict", "judge"]

_LAYERS = {BLACK_BOX: 0, WHITE_BOX: 1, MODEL: 2}


Predict = Callable[[Trace, Run, Contract], ExactModel]


def judge(
    trace: Trace,
    run: Run,
    contract: Contract,
    rules: frozenset[str] = ALL,
    predict: Predict | None = None,
) -> Verdict:
    """The verdict on a run of `trace`; rules outside `rules` never fire.

    `predict` makes the exact model for a run, before its first operation.  Of several violations
    the black-box ones come first, then white-box, then `model`; within a layer the earliest
    operation, then the order of models/rules.py.  Raises CannotJudge when the harness, not the
    subject, failed.
    """
    case = Case(trace, run, contract, frozenset(rules))
    _walk(case)
    judge_ending(case)
    judge_damages(case)
    judge_repetition(case)
    if predict is not None and "model" in case.rules:
        compare(case, predict(trace, run, contract))
    found = sorted(set(case.found), key=_rank)
    return Verdict(found[0] if found else None, tuple(found))


def _rank(violation: Violation) -> tuple[int, int, int, str]:
    layer = _LAYERS[RULES[violation.rule].layer]
    return layer, violation.op, PRECEDENCE[violation.rule], violation.message


def _walk(case: Case) -> None:
    """Takes the operations in order, as far as the subject came back from them."""
    doubt: Doubt | None = None
    recovery = Recovery()
    pairs = zip(case.trace.ops, case.run.observations, strict=False)
    for index, (op, seen) in enumerate(pairs):
        if index >= case.run.done and not seen.flags & RETURNED:
            return
        if seen.flags & SKIPPED:
            continue
        if doubt is not None:
            settle_doubt(case, doubt, op, seen)
            doubt = None
        if op.kind in ALLOCATING:
            doubt = _allocate(case, index, op, seen, recovery)
        else:
            _other(case, index, op, seen)
        if seen.flags & REFUSED:
            case.refused = True
            if case.deny != DENY_ALL:
                case.deny = 0


def _allocate(
    case: Case, index: int, op: Op, seen: Observation, recovery: Recovery
) -> Doubt | None:
    """An allocation that came back, with a block or with NULL."""
    granted = answer(op, seen) != 0
    empty = not case.heap.live
    if not op.size:
        judge_zero_answer(case, index, op, seen)
    case.heap.release(op, granted, case.contract.realloc_zero)
    if op.kind is Kind.REALLOC and not (granted or op.size):
        # NULL for 0 bytes may be a failure that left the block in place, out of reach.
        case.blurred = case.blurred or case.contract.realloc_zero == "unique"
    if granted:
        judge_grant(case, index, op, seen)
        recovery.granted(case, op, empty)
        return None
    judge_failure_errno(case, index, op, seen)
    recovery.failed(case, index, op, seen)
    return doubt_of(case, index, op, seen)


def _other(case: Case, index: int, op: Op, seen: Observation) -> None:
    """Any operation but an allocation, after it came back."""
    any_live = bool(case.heap.live)
    case.heap.release(op, False, case.contract.realloc_zero)
    if op.kind in (Kind.FREE, Kind.FREE_ALL):
        judge_free_errno(case, index, seen)
        if any_live and not case.heap.live:
            judge_held(case, index, seen)
    elif op.kind in MISUSES:
        judge_misuse(case, index, op)
        case.blurred = True
    elif op.kind is Kind.DENY:
        case.deny = op.first
        case.denied = case.denied or op.first != 0
    elif op.kind is Kind.FOREIGN:
        case.foreign = True
