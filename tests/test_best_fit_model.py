"""The exact model of best_fit, judged by the reference heap, and held against the real thing.

The first half runs no C: the model's predictions are made into a run.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

from allocator import description
from allocator.catalogue import HERE as FOLDER
from allocator.catalogue import resolve
from fuzz.bench import Bench
from models.best_fit import DEFAULT_STORE, FENCES, NULL, ExactModel, block_size
from models.judge import judge
from models.observation import Observation, Run, Seen
from models.trace import ALLOCATING, NIL, Kind, Op, Trace, from_text
from tests import strategies
from tests.verdicts import demand_ok, demand_same_layout

BASE = 0x200000001000
ENOMEM, EINVAL = 12, 22
BEST_FIT = description.read(FOLDER / "best_fit" / "subject.toml")


@pytest.fixture(scope="module")
def bench():
    with Bench(resolve("best_fit")) as opened:
        yield opened


def predicted(trace: Trace, model: type = ExactModel) -> Run:
    """The run that an allocator would show which does just what the model says."""
    teller = model(BEST_FIT.contract, trace.store or DEFAULT_STORE, BASE)
    live = {NIL}
    observations = []
    for op in trace:
        dead = op.block is not None and op.block not in live
        if dead or op.kind is Kind.DOUBLE_FREE:
            observations.append(Observation(flags=Seen.SKIPPED))
            continue
        offset = teller.expected(op, Observation(flags=Seen.RETURNED))
        observations.append(observed(op, offset, teller))
        live = {*live} - freed(op, offset, live) | ({op.name} if offset else set())
    return Run(tuple(observations), done=len(trace), store_base=BASE)


def observed(op: Op, offset: int | None, model: ExactModel) -> Observation:
    """What an executor would have seen of one operation."""
    if op.kind not in ALLOCATING:
        return Observation(flags=Seen.RETURNED)
    if not offset:
        valid = not op.alignment & (op.alignment - 1) if op.alignment else True
        return Observation(error=ENOMEM if valid else EINVAL, flags=Seen.RETURNED | Seen.ERRNO)
    block = model.named[op.name]
    usable = block.size - 16
    flags = Seen.RETURNED
    if block.end > model.store.top:
        flags |= Seen.OUTSIDE
    return Observation(BASE + offset, usable, model.store.granted, flags=flags)


def freed(op: Op, offset: int | None, live: set[int]) -> set[int]:
    """The names that an operation ends."""
    if op.kind is Kind.FREE_ALL:
        return live - {NIL}
    if op.kind is Kind.FREE or (op.kind is Kind.REALLOC and offset):
        return {op.first} - {NIL}
    return set()


@given(strategies.traces(BEST_FIT))
def test_the_reference_heap_finds_nothing_wrong_with_the_model(trace: Trace) -> None:
    verdict = judge(trace, predicted(trace), BEST_FIT.contract)
    assert verdict.ok, verdict.violation


@pytest.mark.parametrize(
    ("fault", "rule"),
    [(lambda block: block.start + 4, "alignment"), (lambda block: 16, "overlap")],
    ids=["4 bytes off", "always the same address"],
)
def test_the_reference_heap_would_object(fault, rule) -> None:
    """The judge of the model can find fault: a model that tells wrong addresses is condemned."""

    class Wrong(ExactModel):
        def expected(self, op: Op, seen: Observation) -> int | None:
            offset = super().expected(op, seen)
            return fault(self.named[op.name]) if offset else offset

    trace = from_text("p0 = malloc 24\np1 = malloc 24\np2 = malloc 24\n")
    assert judge(trace, predicted(trace, model=Wrong), BEST_FIT.contract).rule == rule


@given(strategies.traces(BEST_FIT))
def test_best_fit_does_what_the_model_says(bench: Bench, trace: Trace) -> None:
    demand_same_layout(bench, trace, demand_ok(bench, trace))


@given(strategies.traces(BEST_FIT))
def test_the_model_tiles_its_heap(trace: Trace) -> None:
    """No gaps in the layout, no two free neighbours, sizes as the header says."""
    model = ExactModel(BEST_FIT.contract, trace.store or DEFAULT_STORE)
    live = {NIL}
    for op in trace:
        if op.kind is Kind.DOUBLE_FREE or (op.block is not None and op.block not in live):
            continue
        offset = model.expected(op, Observation(flags=Seen.RETURNED))
        live = live - freed(op, offset, live) | ({op.name} if offset else set())
        layout = model.layout()
        for (start, size, used), (after, _, used_after) in pairwise(layout):
            assert start + size == after
            assert used or used_after
        assert all(size >= 32 and size % 16 == 0 and start % 16 == 8 for start, size, _ in layout)


def test_a_skipped_operation_changes_nothing() -> None:
    model = ExactModel(BEST_FIT.contract, 4096)
    skipped = Observation(flags=Seen.SKIPPED)
    for op in (Op(Kind.FREE, first=7), Op(Kind.REALLOC, 1, 7, 10), Op(Kind.DOUBLE_FREE, first=7)):
        assert model.expected(op, skipped) is None
    assert model.layout() == []


@pytest.mark.parametrize(
    ("request_size", "expected"), [(0, 32), (1, 32), (16, 32), (17, 48), (24, 48), (48, 64)]
)
def test_block_size_is_the_headers(request_size: int, expected: int) -> None:
    assert block_size(request_size) == expected


def test_the_first_growth_holds_a_block_of_its_whole_size() -> None:
    model = ExactModel(BEST_FIT.contract, 1 << 20)
    largest = 4096 - FENCES - 16
    seen = Observation(flags=Seen.RETURNED)
    assert model.expected(Op(Kind.MALLOC, 0, largest), seen) == 16
    assert model.store.granted == 4096
    assert model.expected(Op(Kind.MALLOC, 1, 2**63), seen) == NULL
