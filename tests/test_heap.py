"""The reference heap against an even dumber one: a scan over all blocks.

Pure Python; no run is judged here.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.heap import Block, Heap
from models.trace import NIL, Kind, Op


def block(name, address, span):
    return Block(name, address, span, span=span)


STEPS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40), st.booleans()), max_size=60)


@given(STEPS)
def test_sharing_agrees_with_a_scan(steps):
    heap, dumb = Heap(), {}
    for name, (address, span, release) in enumerate(steps):
        expected = [
            each.name
            for each in dumb.values()
            if span
            and each.span
            and each.address < address + span
            and address < each.address + each.span
        ]
        actual = heap.sharing(address, span)
        assert (actual.name if actual else None) in (expected or [None])
        if not expected:
            heap.grant(block(name, address, span))
            dumb[name] = block(name, address, span)
        elif release:
            assert heap.free(expected[0]) == dumb.pop(expected[0])
    assert heap.live == dumb


def test_neighbours_share_nothing():
    heap = Heap()
    heap.grant(block(0, 100, 10))
    assert heap.sharing(90, 10) is None
    assert heap.sharing(110, 10) is None
    assert heap.sharing(109, 1).name == heap.sharing(90, 11).name == 0
    assert heap.sharing(50, 500).name == heap.sharing(103, 2).name == 0
    assert heap.sharing(103, 0) is None
    assert heap.at(99) is heap.at(110) is None


def test_blocks_of_no_span_share_nothing():
    heap = Heap()
    heap.grant(block(0, 100, 0))
    assert heap.sharing(100, 8) is None
    assert heap.free(0) is not None
    assert heap.free(0) is None


def test_overlapping_blocks_can_be_freed_in_any_order():
    heap = Heap()
    for name in range(3):
        heap.grant(block(name, 100, 10))
    heap.free(1)
    assert heap.at(105) is not None
    heap.free(0)
    heap.free(2)
    assert heap.at(105) is None
    assert set(heap.granted) == {0, 1, 2}


def test_what_operations_release():
    heap = Heap()
    for name in range(6):
        heap.grant(block(name, 100 * name, 10))
    heap.release(Op(Kind.FREE, first=0), False, "never")
    heap.release(Op(Kind.FREE, first=NIL), False, "never")
    heap.release(Op(Kind.REALLOC, 9, 1, 20), True, "never")
    heap.release(Op(Kind.REALLOC, 9, 2, 20), False, "never")
    heap.release(Op(Kind.REALLOC, 9, 3, 0), False, "keep")
    heap.release(Op(Kind.REALLOC, 9, 4, 0), False, "free")
    heap.release(Op(Kind.REALLOC, 9, NIL, 8), False, "never")
    heap.release(Op(Kind.WRITE, first=5), False, "never")
    assert sorted(heap.live) == [2, 3, 5]
    assert heap.kept == {2}
    heap.release(Op(Kind.FREE_ALL), False, "never")
    assert not heap.live
    assert heap.at(200) is None
    assert not heap.kept
