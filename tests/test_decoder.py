"""The byte decoder: any bytes become a valid trace, the same each time, and every operation occurs.

It runs no allocator: a small C program decodes, Python reads the records.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.region import DEFAULT_STORE
from allocator.subject import Subject
from fuzz import native
from fuzz.limits import (
    EDGE_CAPACITY,
    FAR,
    LARGE,
    NEAR,
    Limits,
    Switch,
    limits_of,
    probe_edges,
)
from fuzz.limits import (
    OPERATION_BYTES as OPERATION,
)
from fuzz.limits import (
    PROFILE_BYTES as PROFILE,
)
from models.contract import Contract
from models.observation import Observation, Run
from models.trace import ALIGNING, ALLOCATING, Kind, Trace
from tests.decoding import EVERYTHING, TRAPS, Decoder, check_valid, programs


@pytest.fixture(scope="module")
def decode():
    decoder = Decoder(native.decode_program(TRAPS))
    yield decoder
    assert decoder.close() == 0


kind_sets = st.sets(st.sampled_from(Kind)).map(lambda kinds: frozenset(kinds | {Kind.MALLOC}))
some_limits = st.builds(
    Limits,
    kind_sets,
    st.integers(0, 31).map(Switch),
    st.sampled_from([0, 1, 4096, 65536, 2**63]),
    st.lists(st.integers(0, 2**64 - 1), max_size=EDGE_CAPACITY).map(tuple),
)


@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=600), limits=some_limits)
def test_any_bytes_decode_to_a_valid_trace(decode, data, limits):
    trace, store = decode(data, limits)
    assert len(trace) == max(0, len(data) - PROFILE) // OPERATION
    assert store == 0 or 4096 <= store <= 65536
    check_valid(trace, limits)


def test_long_random_programs_are_valid(decode):
    for data in programs(40, 20_000):
        check_valid(decode(data)[0], EVERYTHING)
        check_valid(decode(data, EVERYTHING.dense())[0], EVERYTHING.dense())


def test_decoding_apart_is_the_same(decode):
    data = programs(1)[0]
    trace, store = decode(data)
    apart = native.decode(data, EVERYTHING.pack())
    assert (apart.ops, apart.store) == (trace.ops, store)


def test_capacity_is_kept(decode):
    data = programs(1)[0]
    whole, _ = decode(data)
    assert decode(data, capacity=7)[0].ops == whole.ops[:7]
    assert decode(data, capacity=0)[0].ops == ()


def test_same_bytes_same_trace(decode):
    for data in programs(20):
        assert decode(data) == decode(data)


def test_nothing_without_malloc(decode):
    assert len(decode(bytes(400), Limits(frozenset({Kind.FREE}), Switch(0)))[0]) == 0


def test_every_kind_is_reached(decode):
    seen = Counter(op.kind for data in programs(900) for op in decode(data)[0])
    assert set(seen) == set(Kind)
    assert min(seen.values()) >= 15, seen


def test_the_sizes_that_find_bugs_are_reached(decode):
    ops = [op for data in programs(2000) for op in decode(data)[0]]
    mallocs = {op.size for op in ops if op.kind is Kind.MALLOC}
    assert {0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 17, 2**32, 48, 49, 512} <= mallocs
    wraps = [op for op in ops if op.kind is Kind.CALLOC and op.size >= 2**64]
    assert any(op.size % 2**64 < 4096 for op in wraps), "a product that wraps to a small size"
    calloc = [op.size for op in ops if op.kind is Kind.CALLOC]
    assert any(2**32 <= size < 2**33 and size % 2**32 < 4096 for size in calloc)
    aligned = [op for op in ops if op.kind in ALIGNING]
    assert any(op.alignment == op.size for op in aligned)
    assert {1, 4, 2**63} <= {op.alignment for op in aligned}
    assert any(op.alignment & (op.alignment - 1) for op in aligned)


def test_sizes_return_to_what_was_freed(decode):
    near = 0
    for data in programs(200):
        sizes, freed = {}, set()
        for op in decode(data)[0]:
            if op.kind is Kind.FREE and op.first in sizes:
                freed.add(sizes[op.first])
            if op.kind is Kind.MALLOC:
                near += any(abs(op.size - size) <= 16 for size in freed if size > 64)
                sizes[op.name] = op.size
    assert near > 1000


def test_dense_programs_are_traffic(decode):
    counts = Counter(
        op.kind for data in programs(200) for op in decode(data, EVERYTHING.dense())[0]
    )
    threads = {Kind.THREAD, Kind.END_THREAD}
    assert set(counts) <= ALLOCATING | {Kind.FREE, Kind.WRITE, Kind.FREE_ALL} | threads
    assert counts[Kind.FREE] > 0.25 * counts.total()
    sizes = [op.size for data in programs(50) for op in decode(data, EVERYTHING.dense())[0]]
    assert max(sizes) <= 2**20


def refills(trace: Trace) -> int:
    """How often a block goes and one of its size, or a step less, comes at once."""
    sizes = {op.name: op.size for op in trace if op.kind is Kind.MALLOC}
    return sum(
        one.kind is Kind.FREE
        and two.kind is Kind.MALLOC
        and sizes.get(one.first, 0) - two.size in (0, 16)
        for one, two in pairwise(trace)
    )


def test_rows_bring_holes_that_are_filled(decode):
    """The third byte of the profile chooses; in a clean row the heap is emptied first."""
    rows = {True: 0, False: 0}
    for data in programs(200):
        for on in rows:
            chosen = data[:2] + bytes([data[2] & ~0x40 | 0x40 * on]) + data[3:]
            rows[on] += refills(decode(chosen, EVERYTHING.dense())[0])
    assert rows[True] > 3 * rows[False]
    clean = [data[:2] + bytes([data[2] | 0x60]) + data[3:] for data in programs(50)]
    emptied = Counter(op.kind for data in clean for op in decode(data, EVERYTHING.dense())[0])
    assert emptied[Kind.FREE_ALL] > 50


def is_bulky(data: bytes) -> bool:
    """Whether the profile asks for large blocks: one in sixteen does."""
    return data[3] >> 5 == 7 and bool(data[4] & 0x40)


BULKY = replace(EVERYTHING.dense(), heap_bytes=DEFAULT_STORE)


def test_some_dense_programs_meet_the_thresholds_of_large_blocks(decode):
    seen: Counter = Counter()
    for data in filter(is_bulky, programs(4000)):
        trace, store = decode(data, BULKY)
        assert store == 0, "they need room"
        seen.update(op.size for op in trace if op.kind in ALLOCATING)
    assert 2**20 - 128 <= max(seen) <= 2**20 + 128
    for size in {size for size in LARGE if size <= 2**18}:
        assert sum(seen[size + distance] for distance in NEAR) > 0, size
    mapped = sum(count for size, count in seen.items() if 2**15 <= size <= 2**20)
    assert mapped > 0.05 * seen.total()
    assert {32768 + distance for distance in (*NEAR, *FAR)} <= set(seen)


def test_other_dense_programs_stay_small_and_fast(decode):
    small = [data for data in programs(400) if not is_bulky(data)]
    assert 300 < len(small) < 400
    assert max(op.size for data in small for op in decode(data, BULKY)[0]) < 2**15


def test_a_small_heap_gets_no_large_blocks(decode):
    arena = replace(BULKY, heap_bytes=2**20)
    assert all(op.size < 2**15 for data in programs(400) for op in decode(data, arena)[0])


def test_blocks_are_mostly_live_ones(decode):
    """Operations on dead names are skipped: a decoder that wastes them would find nothing."""
    wasted = total = 0
    for data in programs(100):
        live: set[int] = set()
        for op in decode(data, EVERYTHING.dense())[0]:
            if op.block is not None:
                total += 1
                wasted += op.block not in live
                live.discard(op.block)
            if op.kind is Kind.FREE_ALL:
                live.clear()
            if op.kind in ALLOCATING:
                live.add(op.name)
            if op.kind is Kind.WRITE:
                live.add(op.first)
    assert total > 1000
    assert wasted < 0.01 * total


def test_swarm_switches_kinds_off(decode):
    mixes = {frozenset(op.kind for op in decode(data)[0]) for data in programs(200)}
    assert len(mixes) > 50


def test_a_changed_operation_leaves_the_rest(decode):
    """Mutations stay local: most programs differ in few operations when one byte changes."""
    same = total = 0
    for data in programs(50):
        place = PROFILE + 40 * OPERATION + 3
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        pairs = zip(decode(data)[0], decode(changed)[0], strict=True)
        same += sum(one.kind == other.kind for one, other in pairs)
        total += len(decode(data)[0])
    assert same > 0.97 * total


@pytest.mark.parametrize(
    ("contract", "kind", "present"),
    [
        (Contract(), Kind.FOREIGN, False),
        (Contract(foreign=True), Kind.FOREIGN, True),
        (Contract(), Kind.DOUBLE_FREE, False),
        (Contract(detects={"double_free": "abort"}), Kind.DOUBLE_FREE, True),
        (Contract(detects={"double_free": "abort"}), Kind.INTERIOR_FREE, False),
        (Contract(detects={"realloc_freed": "abort"}), Kind.REALLOC_FREED, True),
        (Contract(threads=True), Kind.THREAD, True),
        (Contract(), Kind.CALLOC, False),
    ],
)
def test_limits_follow_the_contract(contract, kind, present):
    subject = Subject("s", contract, Path("s.so"), has=frozenset({"malloc", "free", "realloc"}))
    assert (kind in limits_of(subject).kinds) == present


def test_limits_switches_follow_the_contract():
    subject = Subject("s", Contract(free_null=False, realloc_zero="free"), Path("s.so"))
    switches = limits_of(subject).switches
    assert Switch.FREE_NULL not in switches
    assert Switch.REALLOC_ZERO in switches


def test_classes_are_learned_from_usable_size():
    classes = (16, 48, 112, 500, 1100)

    def run(trace: Trace) -> Run:
        found = [next((c for c in classes if c >= op.size), 0) for op in trace.ops[::2]]
        pairs = ((Observation(4096, usable), Observation()) for usable in found)
        return Run(tuple(seen for pair in pairs for seen in pair))

    subject = Subject("s", Contract(), Path("s.so"), has=frozenset({"free", "usable_size"}))
    assert probe_edges(run, subject) == (48, 112, 500, 1100)
    assert probe_edges(run, Subject("s", Contract(), Path("s.so"))) == ()
