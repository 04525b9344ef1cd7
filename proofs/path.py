"""One path through the program, and the questions asked about it.

A path is a set of states: those that satisfy its conditions.  It owes obligations, which must hold
in all of them; claims.py settles the debt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

import z3

from proofs.memory import Memory, Write
from proofs.solver import Model, Solver
from proofs.terms import is_plain, number, simplify, trailing_zeros, value_range


@dataclass(frozen=True, slots=True)
class Obligation:
    """A condition that must hold in every state of a path.

    `family` is the part of a claim's name after the dot; `what` says in words what is broken
    where the condition fails.
    """

    family: str
    what: str
    condition: z3.BoolRef


@dataclass(slots=True)
class Path:
    """A path: `model` is one of its states where known; `scene` belongs to whoever explores."""

    memory: Memory
    scene: object = None
    conditions: tuple[z3.BoolRef, ...] = ()
    model: Model | None = None
    owed: tuple[Obligation, ...] = ()
    writes: tuple[Write, ...] = ()

    def fork(self) -> Path:
        """An independent path that starts where this one stands."""
        return replace(self)

    def write(self, entry: Write) -> None:
        """Changes memory, and records the change for claims about what may be written."""
        self.memory = self.memory.after(entry)
        self.writes += (entry,)

    def owe(self, family: str, what: str, condition: z3.BoolRef | bool) -> None:
        """Adds an obligation; one that is plainly true costs nothing."""
        condition = z3.simplify(condition) if z3.is_expr(condition) else z3.BoolVal(condition)
        if not z3.is_true(condition):
            self.owed += (Obligation(family, what, condition),)


class Reasoning:
    """Asks the solver about paths, and remembers what it has learnt."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._names = count()

    def model(self, path: Path) -> Model | None:
        """A state of the path; None if there is none.  Really asks unless one is known."""
        if path.model is None:
            path.model = self.solver.model(path.conditions)
        return path.model

    def counterexample(self, path: Path, condition: z3.BoolRef) -> Model | None:
        """A state of the path in which the condition fails."""
        return self._state_with(path, z3.Not(condition))

    def possible(self, path: Path, condition: z3.BoolRef) -> bool:
        """Whether some state of the path satisfies the condition."""
        return self._state_with(path, condition) is not None

    def certain(self, path: Path, condition: z3.BoolRef) -> bool:
        """Whether every state of the path satisfies the condition."""
        return not self.possible(path, z3.Not(condition))

    def assume(self, path: Path, condition: z3.BoolRef) -> bool:
        """Narrows the path to the states that satisfy the condition; False if none is left."""
        condition = z3.simplify(condition)
        if z3.is_true(condition):
            return True
        model = self._state_with(path, condition)
        if model is None:
            return False
        path.conditions += (condition,)
        path.model = model
        return True

    def split(self, path: Path, condition: z3.BoolRef) -> Iterable[tuple[bool, Path]]:
        """The feasible sides of a branch, each with its own path."""
        condition = z3.simplify(condition)
        if z3.is_true(condition) or z3.is_false(condition):
            return [(z3.is_true(condition), path)]
        other = path.fork()
        sides = [(True, path)] if self.assume(path, condition) else []
        if self.assume(other, z3.Not(condition)):
            sides.append((False, other))
        return sides

    def fresh(self, stem: str, width: int) -> z3.BitVecRef:
        """A variable that occurs nowhere else."""
        return z3.BitVec(f"{stem}.{next(self._names)}", width)

    def named(self, path: Path, term: z3.BitVecRef, stem: str) -> z3.BitVecRef:
        """The same value as a variable, as narrow as its range and alignment allow.

        Later terms then stay sums of variables, whose normal forms decide most questions.
        """
        if is_plain(term):
            return term
        zeros, high = trailing_zeros(term), value_range(term)[1]
        width = max(high.bit_length() - zeros, 1)
        variable = self.fresh(stem, width)
        parts = [variable] + ([number(0, zeros)] if zeros else [])
        if width + zeros < term.size():
            parts.insert(0, number(0, term.size() - width - zeros))
        name = z3.Concat(*parts) if len(parts) > 1 else variable
        path.conditions += (name == term,)
        if path.model is not None:
            path.model = path.model.extended(variable, path.model.value(term) >> zeros)
        return simplify(name)

    def _state_with(self, path: Path, condition: z3.BoolRef) -> Model | None:
        condition = z3.simplify(condition)
        if z3.is_true(condition):
            return self.model(path)
        if z3.is_false(condition):
            return None
        if path.model is not None and path.model.holds(condition):
            return path.model
        return self.solver.model((*path.conditions, condition))


@dataclass(frozen=True, slots=True)
class PathAsker:
    """Answers the questions of Memory.load for one path."""

    reasoning: Reasoning
    path: Path

    def possible(self, condition: z3.BoolRef) -> bool:
        """Whether some state of the path satisfies the condition."""
        return self.reasoning.possible(self.path, condition)
