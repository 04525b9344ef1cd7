"""What an allocator that promises `gives_back` holds: nothing once everything is freed.

The page source's own count is what is looked at, not the judge's verdict on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator import description
from allocator.bugs import PlantedBug
from allocator.catalogue import PLAIN, bundled, planted_bugs, resolve, variants
from allocator.subject import Subject
from fuzz.bench import Bench
from models.observation import Outcome, Run, Seen
from models.trace import ALLOCATING, MISUSES, NIL, Kind, Op, Trace
from tests import strategies
from tests.verdicts import demand_ok, demand_same_layout

ROOT = Path(__file__).resolve().parent.parent
PAGE = 4096
SIZE_MAX = 2**64 - 1
# Making traces takes nearly all the time here, and in each of them everything is freed.
FEWER = settings(max_examples=max(30, settings.default.max_examples // 3))


def promising() -> Iterator[str]:
    """The bundled allocators and variants that give everything back."""
    for each in (each for name in bundled() for each in variants(name)):
        name, _, variant = each.partition("+")
        told = ROOT / "allocator" / name / (f"{variant}.toml" if variant else PLAIN)
        if description.read(told).contract.gives_back:
            yield each


NAMES = list(promising())
OURS = ("mmap_heap", "sbrk_list")
LEAKS = [bug for name in OURS for bug in planted_bugs(name) if bug.rule == "reclaim"]


@pytest.fixture(scope="module", params=NAMES)
def held(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """One of them on the bench."""
    with Bench(resolve(request.param)) as bench:
        yield bench


def without(trace: Trace, *kinds: Kind) -> list[Op]:
    """The operations of other kinds, and no misuse: that may end a run before its time."""
    return [op for op in trace if op.kind not in (*MISUSES, *kinds)]


def freeing(trace_ops: list[Op], order: Callable[[list[int]], list[int]]) -> list[Op]:
    """The operations, then a free of each name that they make, in an order of its own."""
    names = [op.name for op in trace_ops if op.kind in ALLOCATING]
    return [*trace_ops, *(Op(Kind.FREE, first=name) for name in order(names))]


def demand_same_held(bench: Bench, trace: Trace, run: Run) -> None:
    """After every operation the allocator holds what its exact model holds, to the byte."""
    model = bench.predict(trace, run, bench.subject.contract)
    for op, seen in zip(trace, run.observations, strict=True):
        model.expected(op, seen)
        if not seen.flags & Seen.SKIPPED:
            assert model.store.granted == seen.granted


def places(run: Run, trace: Trace, kind: Kind) -> list[int]:
    """The places of the operations of one kind that were carried out."""
    pairs = zip(trace, run.observations, strict=True)
    done = [op.kind is kind and not seen.flags & Seen.SKIPPED for op, seen in pairs]
    return [index for index, each in enumerate(done) if each]


def test_some_promise_it() -> None:
    """Among them the two whose point it is, and they have bugs of that."""
    assert {*OURS, "mmap_heap+initialised"} <= set(NAMES)
    assert {bug.allocator for bug in LEAKS} == set(OURS)


# ---- everything freed ----


def test_nothing_is_held_once_everything_is_freed(held: Bench) -> None:
    """With refused pages on the way; and in between no byte more than the model says."""

    @FEWER
    @given(strategies.traces(held.subject), st.randoms(use_true_random=False))
    def check(trace: Trace, order: random.Random) -> None:
        ops = without(trace, Kind.FOREIGN)
        ops = freeing(ops, lambda names: order.sample(names, len(names)))
        whole = Trace(tuple(ops), trace.subject, trace.store)
        run = demand_ok(held, whole)
        demand_same_held(held, whole, run)
        if any(seen.address for seen in run.observations):
            assert run.observations[-1].granted == 0

    check()


def test_it_is_held_again_and_goes_back_again(held: Bench) -> None:
    """Twenty rounds on one heap; in each something is held, and behind each nothing is."""
    dice = random.Random(1)
    ops: list[Op] = []
    for round_ in range(20):
        ops += many(dice, 20, first=20 * round_)
    run = demand_ok(held, Trace(tuple(ops), held.subject.name))
    granted = [seen.granted for seen in run.observations]
    if any(granted):  # a heap on an array of its own never holds a page
        assert all(granted[at] > 0 for at in range(19, len(ops), 40))
    assert not any(granted[at] for at in range(39, len(ops), 40))


def many(dice: random.Random, count: int, first: int = 0) -> list[Op]:
    """`count` blocks from 1 byte to some pages, then all of them freed in any order."""
    made = [
        Op(Kind.MALLOC, first + each, dice.choice((1, 24, 100, 1000, 4096, 20_000)))
        for each in range(count)
    ]
    return freeing(made, lambda names: dice.sample(names, count))


@pytest.mark.parametrize("bug", LEAKS, ids=lambda bug: bug.subject)
def test_these_traces_would_show_what_stays(bug: PlantedBug) -> None:
    """Each planted bug of giving back leaves something behind in one of a few of them."""
    with Bench(resolve(bug.subject)) as bench:
        for seed in range(50):
            ops = many(random.Random(seed), 1 + seed % 4)
            if bench.execute(Trace(tuple(ops))).observations[-1].granted:
                return
    pytest.fail("everything went back each time")


# ---- with somebody else at the break ----


@pytest.fixture(scope="module")
def listed() -> Iterator[Bench]:
    with Bench(resolve("sbrk_list")) as bench:
        yield bench


def test_what_lies_above_the_last_gap_goes_back(listed: Bench) -> None:
    """No byte more is held than when somebody else moved the break last, and no byte less."""

    @FEWER
    @given(
        strategies.traces(listed.subject),
        st.lists(st.tuples(st.integers(0, 40), strategies.MOVES), min_size=1, max_size=6),
        st.randoms(use_true_random=False),
    )
    def check(trace: Trace, moves: list[tuple[int, int]], order: random.Random) -> None:
        ops = list(trace)
        for place, size in moves:
            ops.insert(place, Op(Kind.FOREIGN, first=size))
        ops = freeing(ops, lambda names: order.sample(names, len(names)))
        whole = Trace(tuple(ops), trace.subject, trace.store)
        run = demand_ok(listed, whole)
        demand_same_layout(listed, whole, run)
        demand_same_held(listed, whole, run)
        moved = places(run, whole, Kind.FOREIGN)
        freed = places(run, whole, Kind.FREE)
        if moved and freed and freed[-1] > moved[-1]:
            assert run.observations[-1].granted == run.observations[moved[-1]].granted

    check()


def test_what_lies_below_a_gap_stays_and_serves_again(listed: Bench) -> None:
    ops = [
        Op(Kind.MALLOC, 0, 100),
        Op(Kind.FOREIGN, first=1),
        Op(Kind.MALLOC, 1, 1000),
        Op(Kind.FREE, first=1),
        Op(Kind.FREE, first=0),
        Op(Kind.MALLOC, 2, 100),
    ]
    seen = demand_ok(listed, Trace(tuple(ops))).observations
    assert seen[4].granted == seen[0].granted > 0
    assert seen[5].address == seen[0].address


def test_bytes_of_a_row_that_cannot_be_aligned_go_back(listed: Bench) -> None:
    """The memory behind a gap is granted, the 15 bytes more that align its block are refused."""
    ops = [
        Op(Kind.MALLOC, 0, 1),
        Op(Kind.FOREIGN, first=1),
        Op(Kind.DENY, first=2),
        Op(Kind.MALLOC, 1, 1),
        Op(Kind.MALLOC, 2, 1),
    ]
    seen = demand_ok(listed, Trace(tuple(ops))).observations
    assert not seen[3].address
    assert seen[3].granted == seen[0].granted
    assert seen[4].address == seen[0].address + 48


# ---- mem_initialise ----


def started(folder: Path, size: int, init_ok: str) -> Subject:
    """mmap_heap, started by mem_initialise with `size` bytes."""
    description = folder / "started.toml"
    description.write_text(
        f'extends = "{ROOT}/allocator/mmap_heap/subject.toml"\nname = "started"\n'
        f'[calls]\ninit = "mem_initialise(&heap, page_source_system(), {size}u)"\n'
        f'init_ok = "{init_ok}"\n'
    )
    return resolve(str(description))


NOTHING = Op(Kind.FREE, first=NIL)


@pytest.mark.parametrize(
    ("size", "mapped"),
    [(0, PAGE), (1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE), (100_000, 25 * PAGE)],
)
def test_the_first_region_is_mapped_at_the_start(tmp_path: Path, size: int, mapped: int) -> None:
    with Bench(started(tmp_path, size, "nonzero")) as bench:
        ops = (NOTHING, Op(Kind.MALLOC, 0, mapped - 32), Op(Kind.FREE, first=0))
        granted = [seen.granted for seen in bench.execute(Trace(ops)).observations]
    assert granted == [mapped, mapped, 0]


@pytest.mark.parametrize("size", [SIZE_MAX, SIZE_MAX - PAGE + 2, 2**63, 2**63 - 1, 16 * PAGE + 1])
def test_a_first_region_that_is_refused(tmp_path: Path, size: int) -> None:
    """The start fails; who goes on all the same has an empty heap that works."""
    ops = (NOTHING, Op(Kind.MALLOC, 0, 1), Op(Kind.FREE, first=0))
    trace = Trace(ops, store=16 * PAGE)
    with Bench(started(tmp_path, size, "nonzero")) as bench:
        assert bench.execute(trace).outcome is Outcome.INIT
    with Bench(started(tmp_path, size, "any")) as bench:
        seen = bench.execute(trace).observations
    assert seen[1].address
    assert [each.granted for each in seen] == [0, 4 * PAGE, 0]
