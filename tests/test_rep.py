"""The CS:APP .rep format: what is read, what is written, what is refused.

Text in, traces out; nothing is run.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rep import from_rep, to_rep
from models.trace import Kind, Op, Trace, TraceError, from_text, to_text

SAMPLE = "20000\n2\n6\n1\na 0 512\na 1 128\nr 0 640\nf 1\nr 0 8\nf 0\n"


def test_reading_gives_each_result_a_name():
    assert to_text(from_rep(SAMPLE)).splitlines()[1:] == [
        "p0 = malloc 512",
        "p1 = malloc 128",
        "p2 = realloc p0 640",
        "free p1",
        "p3 = realloc p2 8",
        "free p3",
    ]


def test_an_id_may_be_used_again_after_free():
    trace = from_rep("1\n1\n4\n1\na 0 8\nf 0\na 0 16\nf -1\n")
    assert [str(op) for op in trace] == ["p0 = malloc 8", "free p0", "p1 = malloc 16", "free NULL"]


def test_writing_keeps_the_id_through_realloc():
    assert to_rep(from_rep(SAMPLE)) == SAMPLE


def test_writing_what_has_another_form():
    trace = from_text("p0 = calloc 3 5\np1 = realloc NULL 8\nfree NULL\nfree_all\n")
    assert to_rep(trace).splitlines() == [
        *("20000", "2", "5", "1"),
        *("a 0 15", "a 1 8", "f -1", "f 0", "f 1"),
    ]


@st.composite
def plain_traces(draw):
    ops, live = [], []
    for made in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from([Kind.MALLOC, Kind.REALLOC, Kind.FREE]))
        if not live or kind is Kind.MALLOC:
            ops.append(Op(Kind.MALLOC, made, draw(st.integers(0, 2**64 - 1))))
            live.append(made)
            continue
        block = live.pop(draw(st.integers(0, len(live) - 1)))
        if kind is Kind.FREE:
            ops.append(Op(kind, first=block))
        else:
            ops.append(Op(kind, made, block, draw(st.integers(0, 2**64 - 1))))
            live.append(made)
    return Trace(tuple(ops))


@given(plain_traces())
def test_round_trip(trace):
    text = to_rep(trace)
    assert to_rep(from_rep(text)) == text
    assert [op.size for op in from_rep(text)] == [op.size for op in trace]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: suggested heap size is missing"),
        ("1\n1\n0\n", "line 4: weight is missing"),
        ("1\nmany\n0\n1\n", "line 2: number of ids is a number"),
        ("1\n1 2\n0\n1\n", "line 2: number of ids is a number"),
        ("1\n1\n2\n1\na 0 8\n", "line 3: the header announces 2 operations, 1 follow"),
        ("1\n1\n1\n1\nx 0 8\n", "line 5: a line begins with a, r or f"),
        ("1\n1\n1\n1\na 0\n", "line 5: a takes an id and a size"),
        ("1\n1\n1\n1\nf 0 8\n", "line 5: f takes an id"),
        ("1\n1\n1\n1\na 1 8\n", "line 5: id 1 is not below the number of ids, 1"),
        ("1\n1\n1\n1\nf 0\n", "line 5: id 0 is not allocated"),
        ("1\n1\n1\n1\nr 0 8\n", "line 5: id 0 is not allocated"),
        ("1\n1\n2\n1\na 0 8\na 0 8\n", "line 6: id 0 is allocated already"),
        ("1\n1\n1\n1\na 0 -8\n", "line 5: '-8' is not a number"),
        ("1\n1\n1\n1\na 0 18446744073709551616\n", "is not a number in 0..SIZE_MAX"),
    ],
)
def test_bad_files_are_told(text, told):
    with pytest.raises(TraceError) as caught:
        from_rep(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("p0 = malloc 8\nwrite p0", "operation 1: write cannot be said in .rep"),
        ("p0 = aligned_alloc 8 8", "operation 0: aligned_alloc cannot be said"),
        ("deny 1", "deny cannot be said"),
        ("p0 = malloc 8\nfree p0\nfree p0", "operation 2: p0 is dead already"),
        ("p0 = calloc SIZE_MAX 2", "the product does not fit"),
    ],
)
def test_what_the_format_cannot_say(line, told):
    with pytest.raises(TraceError) as caught:
        to_rep(from_text(line))
    assert told in str(caught.value)
