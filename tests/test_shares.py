"""A study that is cut into shares says what it says in one go, and goes on where it was cut short.

What is explored in a share is the business of test_induction.py.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from proofs import verdicts
from proofs.claims import Claim, Ledger, Refutation
from proofs.memory import Memory
from proofs.path import Path, Reasoning
from proofs.pieces import pieces_of, prepare
from proofs.shares import Shared
from proofs.solver import Solver, Unknown
from proofs.study import Study
from proofs.subject_ir import _linked, module_of
from proofs.subjects import subject_of

CLAIM = Claim("toy.family", "bounds", "a toy", ("something",))
SHARES = 3


class Toy:
    """A study that notes which of its shares were looked at; a bad share refutes the claim."""

    def __init__(self, bad: int | None = None) -> None:
        self.looked: list[int] = []
        self.bad = bad
        self.study = Study(
            "toy", (CLAIM,), (), (), lambda *both: self.share(*both, range(SHARES)),
            share=self.share, shares=SHARES,
        )  # fmt: skip
        subject = SimpleNamespace(name="toy", contract="none", walker=None)
        self.shared = Shared(subject, SimpleNamespace(digest="toy"), self.study)

    def share(self, _module, ledger, indexes):
        covered = {("f", "entry")}
        for index in indexes:
            self.looked.append(index)
            ledger.premises += 1
            ledger.reached["family", "something"] += 10
            ledger.reasoning.solver.spend(100)
            covered.add(("f", f"block{index}"))
            if index == self.bad:
                ledger.refuted[CLAIM.name] = Refutation("something", Path(Memory()), None)
        return SimpleNamespace(covered=covered)

    def run(self):
        ledger = Ledger(Reasoning(Solver(effort=1000)), (CLAIM,), frozenset({"family"}))
        return ledger, self.shared.run(ledger)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "CACHE", tmp_path)


def test_shares_come_together():
    ledger, engine = Toy().run()
    assert ledger.premises == SHARES
    assert ledger.reached["family", "something"] == 10 * SHARES
    assert engine.covered == {("f", "entry"), *(("f", f"block{each}") for each in range(SHARES))}
    assert ledger.reasoning.solver.effort == 1000 - 100 * SHARES


def test_what_was_found_ahead_is_not_looked_at_again():
    toy = Toy()
    ledger, _ = Toy().run()
    toy.shared.prepare(ledger, 1)
    first, _ = toy.run()
    assert toy.looked == []
    assert first.premises == SHARES
    assert first.reasoning.solver.effort == 1000 - 100 * SHARES


def test_a_run_that_was_cut_short_goes_on():
    toy, ledger = Toy(), Ledger(Reasoning(Solver()), (CLAIM,), frozenset({"family"}))
    toy.shared.prepare(ledger, 2)
    toy.looked.clear()
    toy.run()
    assert toy.looked == [0, 1]


def test_a_refuted_share_is_looked_at_again_and_first():
    toy, ledger = Toy(bad=1), Ledger(Reasoning(Solver()), (CLAIM,), frozenset({"family"}))
    toy.shared.prepare(ledger, 1)
    toy.looked.clear()
    toy.shared.prepare(ledger, 2)  # the study is lost already
    assert toy.looked == []
    found, _ = toy.run()
    assert toy.looked == [1]
    assert CLAIM.name in found.refuted


def test_patience_is_that_of_the_whole_study():
    toy = Toy()
    toy.run()
    ledger = Ledger(Reasoning(Solver(effort=250)), (CLAIM,), frozenset({"family"}))
    with pytest.raises(Unknown):
        toy.shared.run(ledger)


def test_only_a_study_that_is_cut_has_pieces():
    toy = Toy()
    assert pieces_of(toy.study, (CLAIM,)) == [0, 1, 2, CLAIM.name]
    whole = Study("whole", (CLAIM,), (), (), lambda *_: None)
    assert pieces_of(whole, (CLAIM,)) == []


def test_what_goes_wrong_ahead_is_left_to_the_verdict():
    def share(*_):
        raise Unknown("no patience")

    study = Study("toy", (CLAIM,), (), (), share, share=share, shares=2, flags=())
    prepare(subject_of("bump"), study, (CLAIM,), 0)


def test_a_module_is_the_same_whatever_was_compiled_before():
    digests = []
    for order in (("sbrk_list", "bump"), ("bump", "sbrk_list")):
        _linked.cache_clear()
        digests.append({name: module_of(subject_of(name), "raw").digest for name in order})
    assert digests[0] == digests[1]
