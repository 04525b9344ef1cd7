"""The second solver: it agrees where it should, and where it does not nothing is proved."""

from __future__ import annotations

import pytest
import z3

from proofs.claims import PROVED, UNKNOWN
from proofs.second import Disagreement, Second, standard_text
from proofs.solver import Solver, Unknown
from proofs.subjects import subject_of
from proofs.verify import verify

bitwuzla = pytest.importorskip("bitwuzla")
X, Y = z3.BitVecs("x y", 64)
SCRIBBLE = z3.Function("scribble", X.sort(), z3.BitVecSort(8))
QUESTIONS = [
    (z3.ULT(X, 1), z3.ULT(1, X)),
    (SCRIBBLE(X) != SCRIBBLE(Y), X == Y),
    (z3.BVMulNoOverflow(X, Y, False), z3.UGT(X, 2**40), z3.UGT(Y, 2**40)),
    (z3.simplify(z3.UDiv(X, z3.BitVecVal(16, 64))) * 16 == X, X == 8),
]


@pytest.mark.parametrize("conditions", QUESTIONS)
def test_what_has_no_state_is_confirmed(conditions):
    solver = Solver(second=Second())
    assert solver.model(conditions) is None
    assert solver.model(conditions[:1], premise=True) is not None
    assert (solver.second.agreed, solver.second.silent) == (2, 0)


def test_a_wrong_answer_is_noticed():
    with pytest.raises(Disagreement, match="z3 found no state, bitwuzla a state"):
        Second().ask((z3.ULT(X, Y),), holds=False)
    with pytest.raises(Disagreement, match="z3 found a state, bitwuzla no state"):
        Second().ask(QUESTIONS[0], holds=True)


def test_words_that_only_z3_knows_are_put_into_standard_ones():
    text = standard_text((z3.Or(z3.BVMulNoOverflow(X, Y + 1, False), X == 1),))
    assert "noovfl" not in text
    assert "(not (bvumulo x (bvadd y" in text.replace("\n", " ")


def test_a_question_that_cannot_be_put_is_no_opinion():
    second = Second()
    second.ask((z3.BVMulNoUnderflow(X, Y),), holds=True)
    assert (second.agreed, second.silent) == (0, 1)


def _verdict(**more):
    (report,) = verify(subject_of("explicit_list"), "size.limit", cross_check=True, **more)
    return report


def test_a_verdict_says_how_many_questions_agreed():
    report = _verdict()
    assert report.verdict == PROVED, report.reasons
    assert report.second.startswith("bitwuzla agrees with z3 on ")
    agreed, of = [int(word) for word in report.second.split() if word.isdigit()]
    assert agreed == of > 0


def test_with_a_planted_disagreement_nothing_is_proved(monkeypatch):
    monkeypatch.setattr(Second, "_answer", lambda _self, _conditions: True)
    report = _verdict()
    assert report.verdict == UNKNOWN
    assert "the solvers disagree" in report.reasons[0]


def test_a_disagreement_is_unknown_to_whoever_asks(monkeypatch):
    monkeypatch.setattr(Second, "_answer", lambda _self, _conditions: True)
    with pytest.raises(Unknown, match="disagree"):
        Solver(second=Second()).model(QUESTIONS[0])
