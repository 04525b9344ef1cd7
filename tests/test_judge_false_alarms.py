"""The judge never objects to a correct allocator, however odd: random programs, all promises on.

Pure Python: tests/simulated.py stands in for C.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from models.contract import Contract
from models.cycles import cycle_trace, denials, exhaust, largest_block
from models.judge import judge
from models.observation import Observation, Outcome, Run, Seen, Stage
from models.trace import DENY_ALL, NIL, Kind, Op, Trace, from_text
from tests import broken
from tests.simulated import BASE, Odd, Plain, execute

SIZES = st.one_of(
    st.integers(0, 200),
    st.sampled_from([4096, 20000, 2**16, 2**31, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 9, 2**64 - 1]),
)
ALIGNMENTS = st.sampled_from([0, 1, 3, 4, 8, 16, 32, 48, 64, 256, 4096, 8192, 2**63])


@st.composite
def traces(draw, most=40, null=True):
    """Well-formed programs; a dead name may be used, as any executor skips it."""
    ops, made = [], 0
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from([*Kind]))
        if kind in (Kind.FOREIGN, Kind.INTERIOR_FREE, Kind.REALLOC_FREED, Kind.THREAD):
            kind = Kind.MALLOC
        block = draw(st.integers(0, made - 1)) if made else NIL
        if null and draw(st.integers(0, 9)) == 0 and kind in (Kind.FREE, Kind.REALLOC):
            block = NIL
        if block == NIL and (not null or kind in (Kind.WRITE, Kind.DOUBLE_FREE)):
            kind = Kind.MALLOC
        ops.append(draw(operation(kind, made, block)))
        made += ops[-1].name == made
    return Trace(tuple(ops))


@st.composite
def operation(draw, kind, name, block):
    if kind is Kind.MALLOC:
        return Op(kind, name, draw(SIZES))
    if kind is Kind.CALLOC:
        return Op(kind, name, draw(SIZES), draw(SIZES))
    if kind is Kind.REALLOC:
        return Op(kind, name, block, draw(SIZES))
    if kind in (Kind.ALIGNED_ALLOC, Kind.MEMALIGN, Kind.POSIX_MEMALIGN):
        return Op(kind, name, draw(ALIGNMENTS), draw(SIZES))
    if kind is Kind.DENY:
        return Op(kind, first=draw(st.sampled_from([0, 0, 1, 2, DENY_ALL])))
    return Op(kind, first=0 if kind is Kind.FREE_ALL else block)


PROMISES = {
    "alignment": 16,
    "realloc_zero": "free",
    "refuses_over_ptrdiff": True,
    "enomem": True,
    "free_preserves_errno": True,
    "invalid_alignment": True,
    "usable_writable": True,
    "coalesces": True,
    "reclaims": True,
    "detects": {"double_free": "abort"},
}
ODDITIES = {
    "plain": (Odd(), {"malloc_zero": "unique"}),
    "null for zero": (Odd(zero="null"), {"malloc_zero": "null"}),
    "a sentinel for zero": (Odd(zero="sentinel"), {}),
    "lazy merging": (Odd(lazy=True), {"malloc_zero": "unique"}),
    "size classes": (Odd(classes=True, lazy=True), {"malloc_zero": "unique"}),
    "over-aligned": (Odd(align=64), {}),
    "slack": (Odd(slack=24), {"malloc_zero": "unique"}),
    "a fixed budget": (Odd(budget=3000), {}),
    "NULL when it likes": (Odd(moody=3), {"coalesces": False, "reclaims": False}),
}


@pytest.mark.parametrize("name", ODDITIES)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_alarm_on_a_correct_allocator(name, data):
    odd, promises = ODDITIES[name]
    trace = data.draw(traces(null="likes" not in name))
    contract = Contract(**{**PROMISES, **promises})
    assert judge(trace, execute(trace, contract, Plain, odd), contract).all == ()


@pytest.mark.parametrize("name", ODDITIES)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_no_alarm_in_the_dedicated_traces(name, data):
    odd, promises = ODDITIES[name]
    contract = Contract(**{**PROMISES, **promises})
    trace = data.draw(traces(most=12, null="likes" not in name))
    made = [cycle_trace(trace), exhaust(trace, 256, 8192, rounds=2), largest_block(trace)]
    for one in [*made, *denials(trace)]:
        assert judge(one, execute(one, contract, Plain, odd), contract).all == (), str(one)


@pytest.mark.parametrize(
    ("rule", "subject"),
    [
        ("overlap", broken.FreesNeighbour),
        ("survival", broken.FailedReallocFrees),
        ("content", broken.ScribblesBehind),
        ("oom", broken.IgnoresRefusal),
        ("refusal", broken.SizeWraps),
        ("zeroed", broken.CallocDirty),
        ("misuse", broken.AcceptsDoubleFree),
        ("alignment", broken.IgnoresAlignment),
    ],
)
def test_the_same_programs_do_condemn_a_broken_one(rule, subject):
    contract = Contract(**PROMISES)

    def condemned(trace):
        return judge(trace, execute(trace, contract, subject), contract).rule == rule

    quick = settings(max_examples=3000, database=None, phases=[Phase.generate])
    assert condemned(find(traces(), condemned, settings=quick))


def judged(text, *observations, contract=None, **run):
    trace = from_text(text.replace("; ", "\n"))
    run = {"done": len(observations), "store_base": BASE, **run}
    return judge(trace, Run(observations, **run), contract or Contract())


def gave(offset, flags=Seen.RETURNED, usable=0, error=0, granted=4096):
    return Observation(BASE + offset, usable, granted, error, int(flags))


NULL = Observation(flags=int(Seen.RETURNED))
DONE = NULL


def test_a_sentinel_for_zero_bytes_may_be_anything():
    assert judged("p0 = malloc 0; p1 = malloc 0; p2 = malloc 8", gave(3), gave(3), gave(0)).ok


def test_what_posix_memalign_stored_counts_only_on_success():
    enomem = 12
    failed = gave(7, error=enomem)
    assert judged("p0 = malloc 8; p1 = posix_memalign 64 8", gave(0), failed).ok


def test_weaker_alignment_asked_of_memalign_is_enough():
    contract = Contract(alignment=16)
    assert judged("p0 = memalign 4 24", gave(4), contract=contract).ok
    assert judged("p0 = aligned_alloc 4 24", gave(4), contract=contract).rule == "alignment"


def test_c23_alignment_depends_on_the_size():
    contract = Contract(alignment=0)
    assert judged("p0 = malloc 15; p1 = malloc 3", gave(8), gave(2), contract=contract).ok
    assert judged("p0 = malloc 16", gave(8), contract=contract).rule == "alignment"


def test_usable_size_0_means_that_nobody_asked():
    assert judged("p0 = malloc 24", gave(0, usable=0)).ok


def test_a_null_that_asked_for_pages_is_believed():
    asked = replace(NULL, flags=int(Seen.RETURNED | Seen.PAGES))
    assert judged("p0 = realloc NULL 8; p1 = malloc 8", asked, gave(0)).ok
    assert judged("p0 = realloc NULL 8; p1 = malloc 9", NULL, gave(0)).ok
    assert judged("p0 = realloc NULL 8; p1 = malloc 8", NULL, gave(0)).rule == "null"


def test_usable_sizes_may_overlap_unless_all_may_be_written():
    blocks = gave(0, usable=32), gave(24, usable=32)
    assert judged("p0 = malloc 24; p1 = malloc 24", *blocks).ok
    writable = Contract(usable_writable=True)
    assert judged("p0 = malloc 24; p1 = malloc 24", *blocks, contract=writable).rule == "overlap"


def test_time_spent_by_the_executor_is_no_hang():
    cut = {"done": 0, "outcome": Outcome.HANG}
    assert judged("p0 = malloc 24", gave(0), **cut, stage=Stage.TOUCH).ok
    assert judged("p0 = malloc 24", Observation(), **cut, stage=Stage.CALL).rule == "hang"


def test_the_validity_predicate_is_not_the_operation():
    cut = {"done": 1, "outcome": Outcome.HANG, "stage": Stage.CALL}
    text = "p0 = malloc 24; free NULL"
    left = Observation(flags=int(Seen.LEFT | Seen.RETURNED))
    assert judged(text, gave(0), left, **cut).ok
    cut["outcome"] = Outcome.SIGNAL
    assert judged(text, gave(0), left, **cut).rule == "crash"
    left = Observation(flags=int(Seen.LEFT))
    assert judged(text, gave(0), left, **cut).rule == "null"


def test_usable_size_that_trips_over_what_a_refused_request_gave():
    cut = {"done": 0, "outcome": Outcome.SIGNAL, "stage": Stage.TOUCH, "signal": 11}
    flags = Seen.RETURNED | Seen.LEFT | Seen.REFUSED
    nonsense = Observation(2**64 - 1 + 9 - 2**64, flags=int(flags))
    assert judged("p0 = malloc 24", nonsense, **cut, fault=2**63).rule == "oom"


def test_a_promised_abort_is_no_violation():
    contract = Contract(detects={"double_free": "abort"})
    seen = gave(0), DONE, Observation(flags=int(Seen.LEFT))
    text = "p0 = malloc 8; free p0; double_free p0"
    cut = {"done": 2, "outcome": Outcome.ABORT, "stage": Stage.CALL}
    assert judged(text, *seen, contract=contract, **cut).ok


def test_recovery_is_not_asked_for_while_pages_are_denied():
    contract = Contract(coalesces=True)
    refused = replace(NULL, flags=int(Seen.RETURNED | Seen.REFUSED))
    text = "p0 = malloc 64; deny all; p1 = malloc 9000; free_all; p2 = malloc 64"
    assert judged(text, gave(0), DONE, refused, DONE, NULL, contract=contract).ok
    text = "p0 = malloc 64; deny 1; p1 = malloc 9000; free_all; p2 = malloc 64"
    assert judged(text, gave(0), DONE, refused, DONE, NULL, contract=contract).rule == "oom"


def test_a_null_for_realloc_to_zero_may_have_left_the_block():
    contract = Contract(coalesces=True, realloc_zero="unique")
    text = "p0 = malloc 64; p1 = realloc p0 0; p2 = malloc 64"
    assert judged(text, gave(0), NULL, NULL, contract=contract).ok


def test_foreign_memory_excuses_what_does_not_come_back():
    contract = Contract(coalesces=True)
    text = "p0 = malloc 64; free p0; foreign 4096; p1 = malloc 64"
    assert judged(text, gave(0), DONE, DONE, NULL, contract=contract).ok
    text = "p0 = malloc 64; free p0; p1 = malloc 64"
    assert judged(text, gave(0), DONE, NULL, contract=contract).rule == "reclaim"


def test_unknown_memory_is_told_from_the_lowest_page():
    verdict = judged("p0 = malloc 16; p1 = malloc 8", gave(0x18), gave(0x20), store_base=0)
    assert verdict.rule == "overlap"
    assert "+0x20" in verdict.violation.message


HELD = Observation(granted=4096, flags=int(Seen.RETURNED))


def test_what_is_held_counts_only_when_nothing_is_live():
    contract = Contract(gives_back=True)
    two = "p0 = malloc 8; p1 = malloc 8; free p0; "
    assert judged(two + "free p1", gave(0), gave(8), HELD, DONE, contract=contract).ok
    kept = judged(two + "free p1", gave(0), gave(8), HELD, HELD, contract=contract)
    assert (kept.rule, kept.violation.op) == ("reclaim", 3)
    assert judged(two + "free p1", gave(0), gave(8), HELD, HELD).ok


def test_what_is_held_is_not_asked_of_an_empty_heap_nor_beside_others():
    contract = Contract(gives_back=True)
    assert judged("free_all; free NULL", HELD, HELD, contract=contract).ok
    text = "p0 = malloc 8; foreign 16; free_all"
    assert judged(text, gave(0), HELD, HELD, contract=contract).ok
    text = "p0 = malloc 8; free_all"
    assert judged(text, gave(0), HELD, contract=contract, memory_known=False).ok
    assert judged(text, gave(0), HELD, contract=contract).rule == "reclaim"
