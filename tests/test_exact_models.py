"""Each exact model, judged by the reference heap, and held against the allocator it speaks of.

The first half runs no C: the model's predictions are made into a run.
"""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import example, given, settings

from allocator.catalogue import gallery, resolve
from allocator.subject import Subject
from fuzz.bench import Bench, exact_model
from models.exact.explicit_list import Exact
from models.exact.model import NULL, ExactModel
from models.exact.rows import FENCES, block_size
from models.exact.store import DEFAULT_STORE, PAGE, Store
from models.judge import judge
from models.observation import Observation, Run, Seen
from models.trace import ALLOCATING, DENY_ALL, MISUSES, NIL, Kind, Op, Trace, from_text
from tests import strategies
from tests.verdicts import demand_ok, demand_same_layout

BASE = 0x200000001000
MAPS = 0x210000000000
ENOMEM, EINVAL = 12, 22
RETURNED = Observation(flags=Seen.RETURNED)
# In lock step with the model: the nightly takes 100,000 operations for each allocator and more.
LOCK_STEP = 100_000 if os.environ.get("ALLOCHECK_PROFILE") == "nightly" else 2_000


@pytest.fixture(scope="module", params=gallery())
def subject(request: pytest.FixtureRequest) -> Subject:
    return resolve(request.param)


@pytest.fixture(scope="module")
def bench(subject: Subject):
    with Bench(subject) as opened:
        yield opened


def empty_run(subject: Subject) -> Run:
    """What is known of a run before its first operation."""
    arena = BASE if subject.contract.arena else 0
    return Run(
        (), store_base=BASE, maps_base=MAPS, arena_base=arena, arena_size=subject.contract.arena
    )


def predicted(trace: Trace, model: ExactModel) -> Run:
    """The run that an allocator would show which does just what the model says."""
    live = {NIL}
    observations = []
    for op in trace:
        dead = op.block is not None and op.block not in live
        if dead or op.kind in MISUSES:
            observations.append(Observation(flags=Seen.SKIPPED))
            continue
        offset = model.expected(op, RETURNED)
        asked = Seen.PAGES if model.asked_pages() else Seen(0)
        observations.append(observed(op, offset, model, asked))
        live = {*live} - freed(op, offset, live) | ({op.name} if offset else set())
    return Run(tuple(observations), done=len(trace), store_base=BASE, maps_base=MAPS)


def observed(op: Op, offset: int | None, model: ExactModel, asked: Seen) -> Observation:
    """What an executor would have seen of one operation; `asked`: PAGES if pages were requested."""
    granted = model.store.granted
    returned = Seen.RETURNED | asked
    if op.kind not in ALLOCATING:
        return Observation(granted=granted, flags=returned)
    if not offset:
        valid = not op.alignment & (op.alignment - 1) if op.alignment else True
        error = ENOMEM if valid else EINVAL
        return Observation(granted=granted, error=error, flags=returned | Seen.ERRNO)
    return Observation(BASE + offset, model.named[op.name].usable, granted, flags=returned)


def freed(op: Op, offset: int | None, live: set[int]) -> set[int]:
    """The names that an operation ends."""
    if op.kind is Kind.FREE_ALL:
        return live - {NIL}
    if op.kind is Kind.FREE or (op.kind is Kind.REALLOC and offset):
        return {op.first} - {NIL}
    return set()


def test_the_reference_heap_finds_nothing_wrong_with_the_model(subject: Subject) -> None:
    predict = exact_model(subject)

    @given(strategies.traces(subject))
    @example(from_text("deny 1\np0 = malloc 0\np1 = malloc 38\n"))
    def check(trace: Trace) -> None:
        model = predict(trace, empty_run(subject), subject.contract)
        verdict = judge(trace, predicted(trace, model), subject.contract)
        assert verdict.ok, verdict.violation

    check()


@pytest.mark.parametrize(
    ("fault", "rule"),
    [(lambda block: block.start + 4, "alignment"), (lambda block: 16, "overlap")],
    ids=["4 bytes off", "always the same address"],
)
def test_the_reference_heap_would_object(fault, rule) -> None:
    """The judge of the model can find fault: a model that tells wrong addresses is condemned."""

    class Wrong(Exact):
        def expected(self, op: Op, seen: Observation) -> int | None:
            offset = super().expected(op, seen)
            return fault(self.named[op.name]) if offset else offset

    contract = resolve("explicit_list").contract
    trace = from_text("p0 = malloc 24\np1 = malloc 24\np2 = malloc 24\n")
    model = Wrong(contract, Store(DEFAULT_STORE), BASE)
    assert judge(trace, predicted(trace, model), contract).rule == rule


def test_the_allocator_does_what_the_model_says(bench: Bench) -> None:
    """Addresses after every operation, the layout after each trace, LOCK_STEP operations in all."""
    longest = 60
    done = 0

    @settings(max_examples=max(LOCK_STEP // 20, settings.default.max_examples))
    @given(strategies.traces(bench.subject, max_ops=longest))
    def check(trace: Trace) -> None:
        nonlocal done
        if done < LOCK_STEP:
            demand_same_layout(bench, trace, demand_ok(bench, trace))
            done += len(trace)

    check()
    assert done >= min(LOCK_STEP, 500)


def test_a_region_resized_to_nothing_ends_above_its_payload(bench: Bench) -> None:
    """A lead of whole pages, and none to be had for the block that would take its place."""
    text = "p0 = aligned_alloc 4096 40000\ndeny all\np1 = realloc p0 0\np2 = realloc p1 9000\n"
    trace = from_text(text)
    demand_same_layout(bench, trace, demand_ok(bench, trace))


def test_the_model_lays_blocks_side_by_side(subject: Subject) -> None:
    predict = exact_model(subject)

    @given(strategies.traces(subject))
    @example(from_text("deny 1\np0 = malloc 0\np1 = malloc 38\n"))
    def check(trace: Trace) -> None:
        model = predict(trace, empty_run(subject), subject.contract)
        live = {NIL}
        for op in trace:
            if op.kind in MISUSES:
                continue
            if op.block is not None and op.block not in live:
                continue
            offset = model.expected(op, RETURNED)
            live = live - freed(op, offset, live) | ({op.name} if offset else set())
            layout = model.layout()
            assert all(lower[0] + lower[1] <= upper[0] for lower, upper in pairwise(layout))
            used = [(start, start + size) for start, size, state in layout if state]
            for block in model.named.values():
                end = block.payload + block.usable
                assert any(low <= block.payload and end <= high for low, high in used)

    check()


def test_a_skipped_operation_changes_nothing(subject: Subject) -> None:
    model = exact_model(subject)(Trace(()), empty_run(subject), subject.contract)
    before = model.layout()
    skipped = Observation(flags=Seen.SKIPPED)
    for op in (Op(Kind.FREE, first=7), Op(Kind.REALLOC, 1, 7, 10), Op(Kind.DOUBLE_FREE, first=7)):
        assert model.expected(op, skipped) is None
    assert model.layout() == before


@pytest.mark.parametrize(
    ("request_size", "expected"), [(0, 32), (1, 32), (16, 32), (17, 48), (24, 48), (48, 64)]
)
def test_block_size_is_the_headers(request_size: int, expected: int) -> None:
    assert block_size(request_size) == expected


def test_the_first_growth_holds_a_block_of_its_whole_size() -> None:
    model = Exact(resolve("explicit_list").contract, Store(1 << 20))
    largest = 4096 - FENCES - 16
    assert model.expected(Op(Kind.MALLOC, 0, largest), RETURNED) == 16
    assert model.store.granted == 4096
    assert model.expected(Op(Kind.MALLOC, 1, 2**63), RETURNED) == NULL


# ---- the store ----


def test_the_break_moves_and_is_capped() -> None:
    store = Store(3 * PAGE)
    assert store.grow(PAGE) == 0
    assert store.grow(PAGE + 8) == PAGE
    assert store.shrink(PAGE)
    assert (store.top, store.granted) == (PAGE + 8, PAGE + 8)
    assert store.grow(2 * PAGE) is None
    store.foreign(24)
    assert not store.shrink(8)
    assert store.grow(16) == PAGE + 32


def test_regions_take_the_lowest_pages() -> None:
    store = Store(8 * PAGE, maps=MAPS - BASE)
    first, second = store.map(2 * PAGE), store.map(PAGE)
    assert (first, second) == (MAPS - BASE, MAPS - BASE + 2 * PAGE)
    assert not store.extend(first, 2 * PAGE, 3 * PAGE)
    store.unmap(first + PAGE, PAGE)
    assert store.extend(first, PAGE, 2 * PAGE)
    store.unmap(first, 2 * PAGE)
    assert store.map(3 * PAGE) == second + PAGE
    assert store.map(2 * PAGE) == first
    assert store.granted == 6 * PAGE
    assert store.map(3 * PAGE) is None


def test_requests_are_refused_as_the_trace_asks() -> None:
    store = Store(64 * PAGE)
    store.deny = 2
    assert store.map(PAGE) == 0
    assert store.grow(PAGE) is None
    assert store.grow(PAGE) == 0
    store.deny = DENY_ALL
    assert store.grow(PAGE) is None
    assert not store.extend(0, PAGE, 2 * PAGE)
