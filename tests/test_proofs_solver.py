"""What the solver's caches and short cuts may not change: the answers.

The executor against the library is the business of test_proofs_differential.py.
"""

from __future__ import annotations

import random

import pytest
import z3

from proofs.gaze import Gaze
from proofs.memory import Memory
from proofs.path import Path, Reasoning
from proofs.sight import Seen
from proofs.solver import FAILURES, Solver
from proofs.terms import as_sum, constant_distance, simplify

X = z3.BitVec("x", 16)


def test_one_name_of_two_widths_is_two_variables():
    solver = Solver()
    narrow = z3.ZeroExt(8, z3.BitVec("n", 8))
    assert solver.model((narrow == 3,)) is not None
    assert solver.model((z3.BitVec("n", 16) == 300,)) is not None


def test_recalled_answers_are_those_of_a_new_solver():
    rng, standing = random.Random(4), Solver()
    facts = [z3.ULE(X, bound) for bound in (3, 9, 200)]
    facts += [z3.UGE(X, bound) for bound in (2, 9, 180)]
    answers = {True: 0, False: 0}
    for _ in range(120):
        question = tuple(rng.sample(facts, rng.randrange(1, 4)))
        model = standing.model(question)
        assert (model is None) == (Solver(integers=False).model(question) is None), question
        assert model is None or all(model.holds(fact) for fact in question)
        answers[model is None] += 1
    assert min(answers.values()) > 10
    assert standing.queries < 60  # the rest were recalled


def test_what_has_no_model_has_none_with_more():
    solver = Solver()
    assert solver.model((z3.ULE(X, 3), z3.UGE(X, 9))) is None
    asked = solver.queries
    assert solver.model((z3.UGE(X, 9), X != 4, z3.ULE(X, 3))) is None
    assert solver.queries == asked


def test_a_term_has_one_name_on_all_paths():
    reasoning = Reasoning(Solver())
    one, other = Path(Memory()), Path(Memory())
    term = z3.ZeroExt(48, X) & z3.BitVecVal(0xF0, 64)
    first = reasoning.named(one, term, "masked")
    again = reasoning.named(one, term, "masked")
    assert first.eq(again)
    assert len(one.conditions) == 1
    assert first.eq(reasoning.named(other, term, "masked"))
    assert other.conditions
    assert not reasoning.possible(other, first != term)


def test_known_low_bits_are_cleared_exactly():
    rng, cleared = random.Random(5), 0
    for _ in range(60):
        width, low = rng.choice((8, 16)), rng.randrange(1, 5)
        part = z3.Concat(z3.BitVec("a", width - 4), z3.BitVecVal(0, 4))
        term = rng.randrange(1 << width) - rng.choice((1, 3, 16)) * part
        masked = term & ((1 << width) - (1 << low))
        assert Solver(integers=False).model((simplify(masked) != masked,)) is None
        cleared += constant_distance(masked, simplify(term)) is not None
    assert cleared > 20
    assert as_sum(masked).term().size() == width


def test_a_plain_number_may_be_a_candidate_that_is_not_plain():
    candidate = Seen(z3.BitVec("c", 64), lambda _truth: True)
    chosen = Gaze._candidate(None, 48, [candidate, 64])
    assert chosen is candidate


def test_the_end_of_the_stack_is_a_failure_also_in_the_binding():
    def endless(frames: int):
        _ = X + frames
        return endless(frames + 1)

    with pytest.raises(FAILURES):  # which of them depends on how deep the caller was
        endless(0)
