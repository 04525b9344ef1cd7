"""Windows of a heap of any size: small sets of them proved, planted bugs refuted with a picture.

The full sets are what `python proofs/run.py explicit_list --claim 'window.*'` looks at.
"""

from __future__ import annotations

import pytest

from allocator.parts.windows import listed, orders
from proofs import walks, window_claims
from proofs.claims import Ledger
from proofs.exhibit import shown
from proofs.path import Reasoning
from proofs.solver import BRISK, Solver
from proofs.subjects import compiled, subject_of
from proofs.verify import _heap_of


def looked_at(spec: str, **windows):
    """The ledger after all operations on these windows, and the study."""
    subject = subject_of(spec)
    walker = walks.walker_of(subject)
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
    broken = subject_of(f"explicit_list+bugs/{bug}")
    _, replayed = shown(refutation, claim, study, broken, broken.name)
    assert replayed.confirmed, replayed.note
    assert "in the window ...|" in _heap_of(refutation)[0]


FEW = [
    ("implicit_list+next_fit", "free", ("FUF", "b"), ("FUF", "2")),
    ("implicit_list+deferred", "realloc", ("UF", "")),
    ("sbrk_list", "realloc", ("UFF", "B"), ("UFFH", "")),
    ("first_fit", "free", ("FUFH", ""), ("UF", "BB"), ("HU", "-")),
    ("mmap_heap", "free", ("FUF", "B-"), ("HUFH", "b"), ("U", "0-")),
    ("best_fit", "free", ("FUF", ""), ("U", "")),
    ("tlsf", "free", ("FUF", ""), ("UF", "")),
    ("tlsf", "malloc", ("F", "")),
]


@pytest.mark.parametrize(("spec", "verb", "windows"), [(one[0], one[1], one[2:]) for one in FEW])
def test_every_kind_of_list_or_index_has_windows(spec, verb, windows):
    ledger, _ = looked_at(spec, **{verb: windows})
    assert not ledger.refuted
    assert ledger.premises == len(windows) + 1
    assert {"bounds", "tiling", "reclaim"} <= {family for family, _ in ledger.reached}


@pytest.mark.parametrize(
    ("spec", "family", "verb", "window"),
    [
        ("first_fit+bugs/no-back-link", "tags", "free", ("FUH", "")),
        ("mmap_heap+bugs/merges-upwards-only", "adjacent_free", "free", ("FUH", "0")),
        ("best_fit+bugs/unlinked-under-its-new-size", "free_list", "free", ("FU", "")),
        ("best_fit+bugs/merged-without-seal", "checksum", "free", ("UF", "")),
        ("best_fit+bugs/upper-not-told", "tags", "free", ("U", "")),
        ("implicit_list+next_fit+bugs/rover-left-behind", "free_list", "free", ("FU", "1")),
        ("sbrk_list+bugs/small-rest-lost", "tiling", "malloc", ("F", "-")),
    ],
)
def test_a_planted_bug_shows_in_a_window_of_its_kind(spec, family, verb, window):
    ledger, _ = looked_at(spec, **{verb: (window,)})
    assert f"window.{family}" in ledger.refuted


def test_variants_have_windows_of_their_own_or_none():
    """A list that is searched for the place has none; next fit has its rover in each of them."""

    def windows(spec: str):
        subject = subject_of(spec)
        return window_claims.windows_of(walks.walker_of(subject), subject)

    assert not window_claims.studies(subject_of("explicit_list+address_order"))
    assert not window_claims.studies(subject_of("buddy"))
    assert not window_claims.studies(subject_of("bump+marks"))
    assert windows("implicit_list")["malloc"] == (("F", ""),)
    assert windows("implicit_list+next_fit")["malloc"] == (("F", "0"),)
