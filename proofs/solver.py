"""Asks z3: is there a state in which these conditions hold?  It knows nothing of programs.

The budget is z3's resource count, not seconds, so that an answer does not depend on the load of
the machine.  No answer within the budget is Unknown, never "no".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import z3

from proofs.answers import Answers
from proofs.integers import NoIntegerForm, Query, Translation, with_ones
from proofs.second import Disagreement, Second

BUDGET = 10_000_000
BRIEF = 100_000  # of linear integers: what takes them longer, bit-vectors mostly answer at once
# Units of work: one for a basic block, more for a question; about half a millisecond each.
A_QUESTION, A_HARD_QUESTION = 20, 200
BRISK, PATIENT = 150_000, 4_000_000
LITERALS = 300  # a standing solver slows down as it fills up: then a new one takes over


# Failures of the machinery: z3 refuses, or the stack ends, in Python or in the binding of z3.
FAILURES = (z3.Z3Exception, z3.z3core.ctypes.ArgumentError, RecursionError)


class Unknown(Exception):
    """The solver gave no answer: the message is its reason."""


@dataclass(frozen=True)
class Model:
    """A concrete value for every variable: one state."""

    values: tuple[tuple[z3.BitVecRef, z3.BitVecNumRef], ...]
    native: z3.ModelRef
    _held: dict[int, tuple[z3.BoolRef, bool]] = field(default_factory=dict, compare=False)

    def holds(self, condition: z3.BoolRef) -> bool:
        """Whether the condition is true in this state; remembered, for questions recur."""
        known = self._held.get(condition.get_id())
        if known is None:
            known = (condition, z3.is_true(self._evaluate(condition)))
            self._held[condition.get_id()] = known
        return known[1]

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


class StandingSolver:
    """One z3 solver for many queries that share most of their conditions.

    Definitions are asserted for good, since they narrow nothing; each condition stands behind a
    literal of its own, and a query is a set of literals.

    core  which conditions of the query that had no model last were enough for that, by index
    """

    core: Sequence[int] = ()

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._native = z3.SimpleSolver()
        self._native.set("ctrl_c", False)  # Ctrl-C is the caller's: it comes back through poll
        self._defined: set[int] = set()
        self._literals: dict[int, tuple[z3.BoolRef, z3.BoolRef]] = {}

    def model(self, query: Query, budget: int) -> z3.ModelRef | None:
        """A model of a linear query, None if there is none; raises Unknown."""
        if len(self._literals) > LITERALS:
            self._start()
        for index, sides in query.sides.items():
            if index not in self._defined:
                self._defined.add(index)
                self._native.add(*sides)
        self._native.set("rlimit", budget)
        literals = [self._literal(condition) for condition in query.conditions]
        answer = self._native.check(*literals)
        if answer == z3.unknown:
            raise Unknown(self._native.reason_unknown())
        if answer == z3.sat:
            return self._native.model()
        core = {literal.get_id() for literal in self._native.unsat_core()}
        self.core = [index for index, literal in enumerate(literals) if literal.get_id() in core]
        return None

    def _literal(self, condition: z3.BoolRef) -> z3.BoolRef:
        known = self._literals.get(condition.get_id())
        if known is None:
            known = (condition, z3.Bool(f"asked!{len(self._literals)}"))
            self._native.add(z3.Implies(known[1], condition))
            self._literals[condition.get_id()] = known
        return known[1]


def _model_of(query: Query, native: z3.ModelRef) -> Model:
    values = [
        (term, native.eval(variable, model_completion=True).as_long())
        for term, variable in query.variables
    ]
    return Model(tuple((term, z3.BitVecVal(value, term.size())) for term, value in values), native)


_Decided = tuple[Model | None, Sequence[int]]  # where there is no model: a core, by index


@dataclass
class Solver:
    """Decides conjunctions.

    integers  try the integer form before the bit-vectors
    effort    units of work that may be spent on all of them together
    poll      called before each query; what it raises ends the work
    second    is asked again whatever has no state, and what a premise rests on
    """

    integers: bool = True
    budget: int = BUDGET
    effort: int = PATIENT
    poll: Callable[[], None] = lambda: None
    second: Second | None = None
    queries: int = 0
    as_bits: int = 0
    seconds: float = 0.0
    _standing: StandingSolver = field(default_factory=StandingSolver)
    _translation: Translation = field(default_factory=Translation)
    _answers: Answers[Model] = field(default_factory=Answers)

    def another(self) -> Solver:
        """One that knows nothing yet, with as much patience as this one has left."""
        return Solver(self.integers, self.budget, self.effort, self.poll, self.second)

    def spend(self, units: int = 1) -> None:
        """Takes units of work off what is left; raises Unknown when that was all."""
        self.effort -= units
        if self.effort < 0:
            raise Unknown("there are more paths than this bound has patience for")

    def model(self, conditions: Sequence[z3.BoolRef], premise: bool = False) -> Model | None:
        """A state in which all conditions hold, None if there is none; raises Unknown."""
        self.poll()
        question = self._answers.question(conditions)
        model = self._answers.model(question)
        if model is None and self._answers.is_hopeless(question):
            self.spend()
        elif model is None:
            model = self._asked(conditions)
        if self.second is not None and (model is None or premise):
            self._ask_again(self.second, conditions, model is not None)
        return model

    def _asked(self, conditions: Sequence[z3.BoolRef]) -> Model | None:
        """The answer to a new question, which is kept."""
        self.spend(A_QUESTION)
        self.queries += 1
        started = time.process_time()
        try:
            model, core = self._decide(conditions)
        finally:
            self.seconds += time.process_time() - started
        if model is None:
            self._answers.found_none([conditions[index] for index in core])
        else:
            self._answers.found(conditions, model)
        return model

    def _ask_again(self, second: Second, conditions: Sequence[z3.BoolRef], holds: bool) -> None:
        try:
            second.ask(conditions, holds)
        except Disagreement as error:
            raise Unknown(str(error)) from None

    def _decide(self, conditions: Sequence[z3.BoolRef]) -> _Decided:
        """Integers in brief, then bit-vectors, then integers with all patience."""
        if not self.integers:
            return self._decide_bits(conditions)
        try:
            return self._decide_integers(conditions, min(BRIEF, self.budget))
        except NoIntegerForm:
            return self._decide_bits(conditions)
        except Unknown:
            pass
        try:
            return self._decide_bits(conditions)
        except Unknown:
            return self._decide_integers(conditions, self.budget)

    def _decide_bits(self, conditions: Sequence[z3.BoolRef]) -> _Decided:
        self.as_bits += 1
        native = self._check(z3.SolverFor("QF_UFBV"), conditions)
        return Model((), native) if native is not None else None, range(len(conditions))

    def _decide_integers(self, conditions: Sequence[z3.BoolRef], budget: int) -> _Decided:
        query = self._translation.query(conditions)
        native = self._standing.model(query, budget)
        # What a query says of its products beside the conditions always holds.
        core = [index for index in self._standing.core if index < len(conditions)]
        if native is not None and query.products:
            native, core = self._multiplied(query, native), range(len(conditions))
        return None if native is None else _model_of(query, native), core

    def _multiplied(self, query: Query, native: z3.ModelRef) -> z3.ModelRef | None:
        """A model in which products are products: as found, or with a factor of 1, or any.

        What has no state with any numbers for its products has none; most has one with a 1.
        """
        exact = [product.exact() for product in query.products]
        if z3.is_true(native.eval(z3.And(exact), model_completion=True)):
            return native
        simple = replace(query, conditions=[*query.conditions, *with_ones(query.products)])
        found = self._standing.model(simple, self.budget)
        if found is not None:
            return found
        sides = [side for group in query.sides.values() for side in group]
        return self._check(z3.SolverFor("QF_NIA"), [*sides, *query.conditions, *exact])

    def _check(self, native: z3.Solver, conditions: Sequence[z3.BoolRef]) -> z3.ModelRef | None:
        self.spend(A_HARD_QUESTION)
        native.set("rlimit", self.budget)
        native.set("ctrl_c", False)
        native.add(*conditions)
        answer = native.check()
        if answer == z3.unknown:
            raise Unknown(native.reason_unknown())
        return native.model() if answer == z3.sat else None
