"""The shrinker: minimal on known needs, deterministic, idempotent, within its budget.

Predicates in pure Python stand in for the judge, and simulated allocators for C.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import Contract
from models.cycles import cycle_trace
from models.fold import renamed
from models.judge import judge
from models.shrink import shrink
from models.trace import Kind, Op, Trace, from_text, to_text
from tests import broken
from tests.simulated import execute


def noisy(length, seed=1):
    """A program with a bit of everything."""
    chance = random.Random(seed)
    ops, live, made = [], [], 0
    for _ in range(length):
        if live and chance.random() < 0.45:
            block = live.pop(chance.randrange(len(live)))
            kind = chance.choice([Kind.FREE, Kind.FREE, Kind.REALLOC])
        else:
            block, kind = 0, chance.choice([Kind.MALLOC, Kind.CALLOC, Kind.ALIGNED_ALLOC])
        size = chance.randrange(1, 3000)
        if kind is Kind.FREE:
            ops.append(Op(kind, first=block))
            continue
        first = {Kind.MALLOC: size, Kind.CALLOC: 3, Kind.ALIGNED_ALLOC: 64, Kind.REALLOC: block}
        ops.append(Op(kind, made, first[kind], 0 if kind is Kind.MALLOC else size))
        live.append(made)
        made += 1
    return Trace(tuple(ops), subject="simulated", store=65536)


class Counter:
    def __init__(self, predicate):
        self.predicate, self.calls = predicate, 0

    def __call__(self, trace):
        self.calls += 1
        return self.predicate(trace)


def two_frees_after_a_large_one(trace):
    """At least one request of 1000 bytes or more is followed by two frees."""
    large = next((i for i, op in enumerate(trace) if op.size >= 1000), None)
    if large is None:
        return False
    return sum(op.kind is Kind.FREE for op in trace.ops[large:]) >= 2


def test_minimal_for_a_known_need():
    trace = noisy(60)
    assert two_frees_after_a_large_one(trace)
    small = shrink(trace, two_frees_after_a_large_one)
    text = [str(op) for op in small]
    assert sorted(text) == ["free p0", "free p1", "p0 = malloc 1", "p1 = malloc 1000"]
    assert (small.subject, small.store) == ("simulated", 0)


def condemns(subject, rule, contract):
    return lambda trace: judge(trace, execute(trace, contract, subject), contract).rule == rule


BUGS = [
    ("overlap", broken.FreesNeighbour, 8),
    ("content", broken.ScribblesBehind, 3),
    ("prefix", broken.LosesPrefix, 3),
    ("zeroed", broken.CallocDirty, 3),
    ("survival", broken.FailedReallocScribbles, 2),
    ("alignment", broken.IgnoresAlignment, 2),
]


def prepared(rule, fails):
    """A program of forty operations and more that shows the bug."""
    tail = {
        "survival": (Op(Kind.MALLOC, 900, 77), Op(Kind.REALLOC, 901, 900, 70000)),
        "zeroed": (Op(Kind.FREE_ALL), Op(Kind.CALLOC, 902, 17, 13)),
    }
    programs = (Trace(noisy(40, seed).ops + tail.get(rule, ())) for seed in range(200))
    return next(trace for trace in programs if fails(trace))


@pytest.mark.parametrize(("rule", "subject", "most"), BUGS)
def test_bugs_come_down_to_a_few_operations(rule, subject, most):
    contract = Contract(alignment=16)
    counted = Counter(condemns(subject, rule, contract))
    trace = prepared(rule, counted.predicate)
    small = shrink(trace, counted)
    assert counted.predicate(small)
    assert len(small) <= most, to_text(small)
    assert counted.calls <= 500
    assert shrink(small, counted.predicate) == small


@pytest.mark.parametrize("budget", [0, 1, 7, 50])
def test_budget_is_kept_and_the_result_still_fails(budget):
    counted = Counter(two_frees_after_a_large_one)
    small = shrink(noisy(60), counted, budget)
    assert counted.calls <= budget
    assert two_frees_after_a_large_one(small)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.integers(5, 40), least=st.integers(1, 3000))
def test_deterministic_idempotent_and_well_formed(seed, length, least):
    def needs(trace):
        return any(op.size >= least for op in trace)

    trace = noisy(length, seed)
    if not needs(trace):
        return
    small = shrink(trace, needs, 2000)
    assert [str(op) for op in small] == [f"p0 = malloc {least}"]
    assert shrink(trace, needs, 2000) == small == shrink(small, needs, 2000)
    assert from_text(to_text(small)) == small


def test_huge_numbers_go_to_their_landmark():
    trace = from_text("p0 = malloc 8\np1 = malloc SIZE_MAX-77\nfree p0\n")
    small = shrink(trace, lambda one: any(op.size > 2**64 - 90 for op in one))
    assert [str(op) for op in small] == ["p0 = malloc SIZE_MAX"]
    small = shrink(trace, lambda one: any(2**64 - 90 < op.size < 2**64 - 9 for op in one))
    assert [str(op) for op in small] == ["p0 = malloc SIZE_MAX-9"]


def test_overflowing_products_become_plain_ones():
    trace = from_text("p0 = calloc 12297829382473034411 6\n")
    small = shrink(trace, lambda one: any(op.size >= 2**64 for op in one))
    assert [str(op) for op in small] == ["p0 = calloc 2 PTRDIFF_MAX+1"]


def test_alignments_stay_powers_of_two():
    trace = from_text("p0 = posix_memalign 4096 100\n")
    small = shrink(trace, lambda one: any(op.alignment >= 50 for op in one))
    assert [str(op) for op in small] == ["p0 = aligned_alloc 64 1"]


def test_a_realloc_in_the_middle_is_bypassed():
    trace = from_text("p0 = malloc 10\np1 = realloc p0 20\nfree p1\n")

    def frees_what_malloc_made(one):
        mallocs = {op.name for op in one if op.kind is Kind.MALLOC}
        return any(op.kind is Kind.FREE and op.first in mallocs for op in one)

    small = shrink(Trace(trace.ops), lambda one: frees_what_malloc_made(one) or one == trace)
    assert [str(op) for op in small] == ["p0 = malloc 1", "free p0"]


def test_cycles_shrink_as_one():
    body = noisy(20)

    def many_frees_in_each_cycle(trace):
        frees = [op.kind is Kind.FREE_ALL for op in trace]
        cycles = sum(frees)
        sizes = sum(op.kind is Kind.MALLOC and op.size >= 100 for op in trace)
        return cycles >= 7 and sizes >= cycles

    trace = cycle_trace(body, 64)
    counted = Counter(many_frees_in_each_cycle)
    assert counted.predicate(trace)
    small = shrink(trace, counted)
    assert [str(op) for op in small.ops[:2]] == ["p0 = malloc 100", "free_all"]
    assert len(small) == 14
    assert counted.calls <= 300


def test_names_are_counted_in_order():
    trace = from_text("p7 = malloc 8\np3 = realloc p7 9\nfree p3\nfree NULL\n")
    assert to_text(renamed(trace)).splitlines()[1:] == [
        "p0 = malloc 8",
        "p1 = realloc p0 9",
        "free p1",
        "free NULL",
    ]
