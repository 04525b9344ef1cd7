"""The inductive proof and the comparison of two versions, on small rooms.

The heap walks themselves are the business of test_walks.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from models.trace import to_text
from proofs import equivalence, inductive_claims
from proofs.claims import PROVED, REFUTED
from proofs.equivalence import DIFFERENT, EQUAL, UNDECIDED
from proofs.subjects import compiled, subject_of, version_of
from proofs.verify import verify


def only(spec: str, pattern: str):
    return list(verify(subject_of(spec), pattern, quick=True, only=inductive_claims.NAME))


def test_one_operation_from_every_valid_heap_is_proved():
    reports = only("sbrk_list", "inductive.[tu]*")
    assert {report.claim.family for report in reports} == {"tiling", "usable"}
    for report in reports:
        assert report.verdict == PROVED, (report.claim.name, report.reasons)
        assert report.canary


def test_what_is_refuted_comes_as_a_program_that_leads_there():
    (report,) = only("explicit_list+bugs/no-back-link", "inductive.free_list")
    assert report.verdict == REFUTED
    assert report.replayed.confirmed, report.replayed.note
    assert any("in the heap" in reason for reason in report.reasons)


@pytest.fixture
def smallest(monkeypatch):
    monkeypatch.setattr(
        inductive_claims, "rooms_of", lambda *_, **__: (inductive_claims.Room((64,)),)
    )


CONTIGUOUS = """
story = "Memory that is granted is taken to follow on, whoever has moved the break."
rule = "bounds"
file = "parts/boundary_tags.h"
find = "heap->first && memory == heap->limit"
replace = "heap->first"
"""


@pytest.mark.parametrize("moved", [True, False])
def test_a_break_that_others_moved_is_a_premise_of_its_own(moved, tmp_path, monkeypatch):
    room = inductive_claims.Room((48,), moved=moved)
    monkeypatch.setattr(inductive_claims, "rooms_of", lambda *_, **__: (room,))
    (tmp_path / "contiguous.toml").write_text(CONTIGUOUS)
    bug = version_of(str(tmp_path / "contiguous.toml"), subject_of("explicit_list"))
    (report,) = verify(bug, "inductive.bounds")
    assert (report.verdict == REFUTED) == moved
    if moved:
        assert "foreign 16" in to_text(report.trace)
        assert report.replayed.confirmed, report.replayed.note


def compared(one: str, other: str):
    return equivalence.compare(subject_of(one), subject_of(other), quick=True)


POOL = str(Path(__file__).parent / "subjects" / "pool.toml")
REWRITTEN = """
story = "The same, written otherwise."
rule = "usable"
file = "parts/boundary_tags.h"
find = "size_of(block_of(payload)) - 2 * TAG : 0;"
replace = "size_of(block_of(payload)) - 3 * TAG + TAG : 0;"
"""


@pytest.mark.usefixtures("smallest")
def test_what_is_written_otherwise_agrees(tmp_path):
    path = tmp_path / "rewritten.toml"
    path.write_text(REWRITTEN)
    one = subject_of("explicit_list")
    other = version_of(str(path), one)
    pair = [compiled(each, flags=(), like=one) for each in (one, other)]
    assert list(equivalence._differing(*pair)) == ["usable_size"]
    outcome = equivalence.compare(one, other, quick=True)
    assert (outcome.word, outcome.heaps) == (EQUAL, 2), outcome


@pytest.mark.usefixtures("smallest")
@pytest.mark.parametrize("bug", ["no-back-link", "split-forgets-the-footer"])
def test_a_version_with_a_bug_is_told_apart(bug):
    outcome = compared("explicit_list", f"explicit_list+bugs/{bug}")
    assert outcome.word == DIFFERENT, outcome


def test_without_a_walker_nothing_is_said():
    outcome = compared(POOL, POOL)
    assert outcome.word == UNDECIDED
    assert "no heap walker" in outcome.why
