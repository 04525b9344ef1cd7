"""Hypothesis' traces and decoded bytes: both have the shapes that reach a checker's blind spots.

It runs no allocator.  What a shape is made of stands once, in fuzz/limits.py; the long cycles are
models/cycles.py's, which both engines take their traces to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from allocator.subject import Subject
from fuzz import limits
from fuzz.native import decode_program
from models.contract import PTRDIFF_MAX, Contract
from models.trace import ALIGNING, ALLOCATING, MISUSES, NIL, Kind, Op, Trace
from tests import strategies
from tests.decoding import TRAPS, Decoder, programs

EDGES = (777, 1313)  # of no other generator's making
CONTRACT = Contract(
    foreign=True, threads=True, detects={kind.name.lower(): "abort" for kind in MISUSES}
)
SUBJECT = Subject("s", CONTRACT, Path("s.so"), has=frozenset(limits.FUNCTIONS.values()))


@cache
def decoded() -> list[Trace]:
    decoder = Decoder(decode_program(TRAPS))
    allowed = limits.limits_of(SUBJECT, EDGES)
    traces = [decoder(data, allowed)[0] for data in programs(1600)]
    assert decoder.close() == 0
    return traces


def drawn() -> list[Trace]:
    traces = []

    @settings(
        max_examples=800,
        database=None,
        derandomize=True,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.traces(SUBJECT, max_ops=120, edges=EDGES))
    def collect(trace: Trace) -> None:
        traces.append(trace)

    collect()
    return traces


@pytest.fixture(scope="module", params=[decoded, drawn], ids=lambda function: function.__name__)
def traces(request: pytest.FixtureRequest) -> list[Trace]:
    return request.param()


def some(op_shape: Callable[[Op], bool]) -> Callable[[Trace], bool]:
    return lambda trace: any(op_shape(op) for op in trace)


def is_near(size: int, places: tuple[int, ...]) -> bool:
    return any(size - place in limits.NEAR for place in places)


def near_freed(trace: Trace) -> bool:
    """A size of more than 64 bytes is that of a block freed before, more or less."""
    sizes: dict[int, int] = {}
    freed: set[int] = set()
    for op in trace:
        if op.kind is Kind.FREE and op.first in sizes:
            freed.add(sizes[op.first])
        if op.kind is Kind.MALLOC and op.size > 64 and is_near(op.size, tuple(freed)):
            return True
        if op.kind in ALLOCATING:
            sizes[op.name] = op.size
    return False


def under_refusal(trace: Trace) -> bool:
    return any(
        one.kind is Kind.DENY and one.first and two.kind in ALLOCATING
        for one, two in pairwise(trace)
    )


def is_resize(op: Op, size: range) -> bool:
    return op.kind is Kind.REALLOC and op.first != NIL and op.size in size


def between_holes(trace: Trace) -> bool:
    """A block is resized to what it has; those made before and behind it were equal, and went."""
    sizes: dict[int, int] = {}
    freed: set[int] = set()
    for op in trace:
        if op.kind is Kind.REALLOC and op.size == sizes.get(op.first) and op.size > 0:
            around = {op.first - 1, op.first + 1}
            if around <= freed and {sizes.get(name) for name in around} == {op.size}:
                return True
        if op.kind is Kind.MALLOC:
            sizes[op.name] = op.size
        if op.kind is Kind.FREE:
            freed.add(op.first)
    return False


def refilled_often(trace: Trace) -> bool:
    """Again and again what a block leaves is taken at once, by as much or by a step less."""
    sizes = {op.name: op.size for op in trace if op.kind is Kind.MALLOC}
    filled = [
        sizes[one.first] - two.size
        for one, two in pairwise(trace)
        if one.kind is Kind.FREE and two.kind is Kind.MALLOC and sizes.get(one.first, 0) > 64
    ]
    return filled.count(0) >= 3 and filled.count(strategies.STEP) >= 3


SHAPES = {
    "the size of a freed block": near_freed,
    "a block between holes of its size": between_holes,
    "holes that are filled": refilled_often,
    "a class edge learned": some(lambda op: op.kind is Kind.MALLOC and is_near(op.size, EDGES)),
    "size == alignment": some(lambda op: op.kind in ALIGNING and op.size == op.alignment),
    "a huge alignment": some(lambda op: op.kind in ALIGNING and op.alignment >= 2**31),
    "a huge size": some(lambda op: op.kind is Kind.MALLOC and op.size > PTRDIFF_MAX),
    "a huge size of another": some(lambda op: is_resize(op, range(PTRDIFF_MAX + 1, 2**64))),
    "a product over 2**64": some(lambda op: op.kind is Kind.CALLOC and op.size >= 2**64),
    "a product over 2**32": some(
        lambda op: op.kind is Kind.CALLOC and 2**32 <= op.size < 2**32 + 2**16
    ),
    "none of something": some(lambda op: op.kind is Kind.CALLOC and op.first == 0),
    "refused pages": under_refusal,
    "a foreign move": some(lambda op: op.kind is Kind.FOREIGN),
    "everything freed": some(lambda op: op.kind is Kind.FREE_ALL),
    "a double free": some(lambda op: op.kind is Kind.DOUBLE_FREE),
    "an interior free": some(lambda op: op.kind is Kind.INTERIOR_FREE),
    "a resize of what is freed": some(lambda op: op.kind is Kind.REALLOC_FREED and op.second > 0),
    "another thread": some(lambda op: op.kind is Kind.THREAD and op.first > 0),
    "a resize of nothing": some(lambda op: op.kind is Kind.REALLOC and op.first == NIL),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_both_generators_have_it(traces, shape):
    assert sum(map(SHAPES[shape], traces)) > 0


def test_both_switch_operations_off(traces):
    """Swarm: what is left out makes room for the rest."""
    kinds = {frozenset(op.kind for op in trace) for trace in traces if len(trace) >= 20}
    assert len(kinds) > 20
    for kind in {Kind.REALLOC, Kind.CALLOC, Kind.FREE_ALL, Kind.DENY}:
        assert {kind in mix for mix in kinds} == {True, False}


def test_no_entry_of_the_tables_is_dead_in_the_decoder():
    """Hypothesis draws from the tables themselves."""
    ops = [op for trace in decoded() for op in trace]
    exponents = {op.alignment.bit_length() - 1 for op in ops if op.kind in ALIGNING}
    # Alignments of 1, 2 and 4 only where the contract speaks of such; see test_decoder.py.
    assert exponents >= {each for each in limits.EXPONENTS if each > 2} | {*limits.FAR_EXPONENTS}
    sizes = {op.size for op in ops if op.kind in ALLOCATING}
    for base in limits.HUGE:
        assert any(abs(size - base) <= 64 for size in sizes), base
    callocs = [sorted((op.first, op.second)) for op in ops if op.kind is Kind.CALLOC]
    for pair in limits.PAIRS:
        small, large = sorted(pair)
        assert any(abs(two - large) < 256 and one == small for one, two in callocs), pair
