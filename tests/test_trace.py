"""The trace language: text and flat records round trip; every bad line is told with its number.

No executor here; tests/test_layout.py compares the records with C.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.trace import (
    _OPERANDS,
    ALLOCATING,
    DENY_ALL,
    NIL,
    NO_NAME,
    OP_BYTES,
    Kind,
    Op,
    Trace,
    TraceError,
    from_text,
    number_text,
    pack_ops,
    to_text,
    unpack_ops,
)

NUMBERS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 100),
    st.sampled_from([2**64 - 1, 2**63 - 1, 2**32 - 1, 2**31 - 1]),
    st.builds(
        lambda base, off: base - off, st.sampled_from([2**64 - 1, 2**63]), st.integers(0, 99)
    ),
)
EVERY = """\
# format: 1
# subject: explicit_list+bugs/coalesce-forgets-footer
# store: 65536
# expect: overlap
# a remark
p0 = malloc 24
p1 = calloc 4 16
p2 = realloc p0 128
p3 = aligned_alloc 64 256
p4 = memalign 32 8
p5 = posix_memalign 8 SIZE_MAX-8
p6 = realloc NULL PTRDIFF_MAX+1
free p1
free NULL
write p2
deny 1
deny all
deny none
foreign 4096
double_free p1
interior_free p2 8
realloc_freed p1 48
free_all
thread 1
end_thread 1
"""


@st.composite
def traces(draw):
    ops, made = [], []
    names = iter(draw(st.lists(st.integers(0, 2**31 - 1), min_size=20, max_size=20, unique=True)))
    for _ in range(draw(st.integers(0, 20))):
        kind = draw(st.sampled_from([*Kind]))
        values = [draw(operand(what, made)) for what in _OPERANDS[kind]]
        name = next(names) if kind in ALLOCATING else NO_NAME
        ops.append(Op(kind, name, *values))
        made += [name] if kind in ALLOCATING else []
    subject = draw(st.sampled_from([None, "explicit_list", "libx.so"]))
    expect = draw(st.sampled_from([None, "ok", "overlap"]))
    return Trace(tuple(ops), subject, draw(st.integers(0, 2**40)), expect)


def operand(what, made):
    return st.sampled_from([NIL, *made]) if what == "b" else NUMBERS


@given(traces())
def test_text_round_trip(trace):
    assert from_text(to_text(trace)) == trace


@given(traces())
def test_record_round_trip(trace):
    records = pack_ops(trace.ops)
    assert len(records) == OP_BYTES * len(trace)
    assert unpack_ops(records) == trace.ops


def test_text_of_every_kind_is_stable():
    trace = from_text(EVERY)
    assert {op.kind for op in trace} == set(Kind)
    assert to_text(trace) == EVERY
    assert trace.comments == ("a remark",)
    assert (trace.subject, trace.store, trace.expect) == (
        "explicit_list+bugs/coalesce-forgets-footer",
        65536,
        "overlap",
    )


def test_a_comment_may_follow_anything():
    trace = from_text("# store: 4096   # small\n\np0 = malloc 0x10  # sixteen\n")
    assert (trace.store, trace.ops) == (4096, (Op(Kind.MALLOC, 0, 16),))


@given(NUMBERS)
def test_number_text_names_the_same_number(value):
    assert from_text(f"p0 = malloc {number_text(value)}").ops[0].first == value


def test_sizes_and_operands():
    ops = from_text(EVERY).ops
    assert [op.size for op in ops[:4]] == [24, 64, 128, 256]
    assert Op(Kind.CALLOC, 0, 2**63, 2).size == 2**64
    assert ops[3].alignment == 64
    assert ops[0].block is None
    assert ops[6].block == NIL
    assert ops[2].block == 0
    assert ops[11].first == DENY_ALL


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p0 = malloc", "line 1: malloc takes 1 operand"),
        ("\np0 = malloc 1 2", "line 2: malloc takes 1 operand"),
        ("malloc 8", "an allocation, and nothing else, makes a name"),
        ("p0 = free p0", "an allocation, and nothing else, makes a name"),
        ("free p0", "p0 has not been made"),
        ("p0 = malloc 8\np0 = malloc 8", "line 2: p0 is made twice"),
        ("p0 = realloc p0 8", "p0 has not been made"),
        ("q0 = malloc 8", "'q0' is not a name"),
        ("p2147483648 = malloc 8", "is not a name"),
        ("p0 = malloc lots", "'lots' is not a number"),
        ("p0 = malloc NONSENSE_MAX", "is not a number"),
        ("p0 = malloc -1", "is not in 0..SIZE_MAX"),
        ("p0 = malloc SIZE_MAX+1", "is not in 0..SIZE_MAX"),
        ("p0 = malloc 18446744073709551616", "is not in 0..SIZE_MAX"),
        ("freee p0", "no operation 'freee'"),
        ("p0 =", "no operation"),
        ("# format: 2", "format 2 is not format 1"),
        ("# store: much", "'much' is not a number"),
    ],
)
def test_bad_lines_are_told(text, told):
    with pytest.raises(TraceError) as caught:
        from_text(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="p0123 =malocfrenyd#:NUL\n-+_x", max_size=60))
def test_any_text_is_a_trace_or_one_clear_line(text):
    try:
        trace = from_text(text)
    except TraceError:
        with pytest.raises(TraceError, match=r"\A[^\n]+\Z"):
            from_text(text)
    else:
        assert from_text(to_text(trace)) == trace
