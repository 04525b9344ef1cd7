"""Asks z3: is there a state in which these conditions hold?  It knows nothing of programs.

The budget is z3's resource count, not seconds, so that an answer does not depend on the load of
the machine.  No answer within the budget is Unknown, never "no".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import z3

from proofs.integers import NoIntegerForm, Translation

BUDGET = 40_000_000


class Unknown(Exception):
    """The solver gave no answer: the message is its reason."""


class SolverDefect(Exception):
    """A model that does not satisfy what was asked: a defect in proofs/ or in z3."""


@dataclass(frozen=True)
class Model:
    """A concrete value for every variable: one state."""

    values: tuple[tuple[z3.BitVecRef, z3.BitVecNumRef], ...]
    native: z3.ModelRef

    def holds(self, condition: z3.BoolRef) -> bool:
        """Whether the condition is true in this state."""
        return z3.is_true(self._evaluate(condition))

    def value(self, term: z3.BitVecRef) -> int:
        """The term's unsigned value in this state."""
        return self._evaluate(term).as_long()

    def extended(self, variable: z3.BitVecRef, value: int) -> Model:
        """The same state with one more variable in it."""
        pair = (variable, z3.BitVecVal(value, variable.size()))
        return Model((*self.values, pair), self.native)

    def _evaluate(self, term: z3.ExprRef) -> z3.ExprRef:
        if self.values:
            term = z3.substitute(term, *self.values)
        return self.native.eval(term, model_completion=True)


@dataclass
class Solver:
    """Decides conjunctions; `integers` tries the integer form before the bit-vectors."""

    integers: bool = True
    budget: int = BUDGET
    queries: int = 0
    as_bits: int = 0
    seconds: float = 0.0
    _translation: Translation = field(default_factory=Translation)

    def model(self, conditions: Sequence[z3.BoolRef]) -> Model | None:
        """A state in which all conditions hold, None if there is none; raises Unknown."""
        self.queries += 1
        started = time.process_time()
        try:
            return self._decide(conditions)
        finally:
            self.seconds += time.process_time() - started

    def _decide(self, conditions: Sequence[z3.BoolRef]) -> Model | None:
        if self.integers:
            try:
                return self._decide_integers(conditions)
            except (NoIntegerForm, Unknown):
                self.as_bits += 1
        native = self._check(z3.SolverFor("QF_BV"), conditions)
        return Model((), native) if native is not None else None

    def _decide_integers(self, conditions: Sequence[z3.BoolRef]) -> Model | None:
        query = self._translation.query(conditions)
        logic = z3.SolverFor("QF_NIA") if query.nonlinear else z3.SolverFor("QF_LIA")
        native = self._check(logic, query.conditions)
        if native is None:
            return None
        values = tuple(
            (term, z3.BitVecVal(native.eval(variable, model_completion=True).as_long(), term.size()))
            for term, variable in query.variables
        )
        model = Model(values, native)
        for condition in conditions:
            if not model.holds(condition):
                raise SolverDefect(f"the integer form of {condition} is not exact")
        return model

    def _check(self, native: z3.Solver, conditions: Sequence[z3.BoolRef]) -> z3.ModelRef | None:
        native.set("rlimit", self.budget)
        native.add(*conditions)
        answer = native.check()
        if answer == z3.unknown:
            raise Unknown(native.reason_unknown())
        return native.model() if answer == z3.sat else None
