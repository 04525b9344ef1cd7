"""Windows of a heap of any size: small sets of them proved, planted bugs refuted with a picture.

The full sets are what `python proofs/run.py explicit_list --claim 'window.*'` looks at.
"""

from __future__ import annotations

import pytest

from allocator.parts.windows import listed, orders
from proofs import inductive_claims, window_claims
from proofs.claims import Ledger
from proofs.path import Reasoning
from proofs.solver import BRISK, Solver
from proofs.subjects import compiled, studies_of, subject_of
from proofs.verify import _heap_of, _shown


def looked_at(spec: str, **windows):
    """The ledger after all operations on these windows, and the study."""
    subject = subject_of(spec)
    walker = inductive_claims.walker_of(subject)
    study = window_claims.study(subject, walker, windows)
    ledger = Ledger(Reasoning(Solver(effort=BRISK)), study.claims, study.families)
    study.run(compiled(subject, flags=study.flags), ledger)
    return ledger, study


def test_an_order_shows_the_head_and_both_neighbours_of_each_block():
    assert list(orders([])) == ["", "b."]
    assert set(orders(["1"])) == {"1", "1b.", "b1", "b1b.", "b.b1", "b.b1b."}
    both = list(orders(["0", "2"]))
    assert len(both) == len(set(both)) == 36
    assert all(".." not in order and order[:1] != "." for order in both)
    assert all(
        f".{block}" not in order and f"{block}." not in order for order in both for block in "02"
    )
    assert list(listed("U")) == [("U", ""), ("U", "b.")]


@pytest.mark.parametrize(
    ("verb", "windows"),
    [
        ("free", (("U", "b."), ("FUF", "0b2"), ("FUF", "b.b2b.b0b."))),
        ("malloc", (("F", "b0b."),)),
        ("realloc", (("U", ""), ("FUF", "0b2"))),
        ("aligned_alloc", (("F", "0"),)),
    ],
)
def test_an_operation_touches_its_window_alone_and_leaves_it_valid(verb, windows):
    ledger, _ = looked_at("explicit_list", **{verb: windows})
    assert not ledger.refuted
    assert ledger.premises == len(windows) + 1  # each window can be, and the heap can start
    assert {"bounds", "tiling", "tags", "adjacent_free", "free_list", "reclaim"} <= {
        family for family, _ in ledger.reached
    }


@pytest.mark.parametrize(
    ("bug", "family", "verb", "window"),
    [
        ("merges-upwards-only", "adjacent_free", "free", ("FU", "0")),
        ("coalesce-forgets-footer", "tags", "free", ("UF", "1")),
        ("coalesce-forgets-unlink", "free_list", "free", ("UF", "b1")),
        ("no-back-link", "free_list", "free", ("U", "b.")),
        ("small-rest-lost", "tiling", "malloc", ("F", "0")),
        ("free-poisons-too-far", "bounds", "free", ("U", "")),
    ],
)
def test_a_planted_bug_is_refuted_and_the_window_drawn(bug, family, verb, window):
    ledger, study = looked_at(f"explicit_list+bugs/{bug}", **{verb: (window,)})
    refutation = ledger.refuted[f"window.{family}"]
    claim = next(one for one in study.claims if one.family == family)
    _, replayed = _shown(refutation, subject_of(f"explicit_list+bugs/{bug}"), claim, study)
    assert replayed.confirmed, replayed.note
    assert "in the window ...|" in _heap_of(refutation)[0]


def test_only_where_nothing_is_searched_but_for_a_fit_are_there_windows():
    names = {}
    for spec in ("explicit_list", "explicit_list+address_order", "bump+marks"):
        subject = subject_of(spec)
        names[spec] = {study.name for study in studies_of(subject, compiled(subject), quick=True)}
    assert [spec for spec in names if "window" in names[spec]] == ["explicit_list"]
