"""One path through the program, and the questions asked about it.

A path is a set of states: those that satisfy its conditions.  It owes obligations, which must hold
in all of them; claims.py settles the debt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

import z3

from proofs.logic import Truth, condition, less, negate, plain
from proofs.memory import Memory, Write
from proofs.solver import Model, Solver
from proofs.terms import is_plain, number, simplify, trailing_zeros, value_range


@dataclass(frozen=True, slots=True)
class Touch:
    """`size` bytes at an address that are read, or written, or granted; `scene` as it was then."""

    address: z3.BitVecRef
    size: z3.BitVecRef
    writes: bool
    scene: object


@dataclass(frozen=True, slots=True)
class Obligation:
    """A condition that must hold in every state of a path.

    `family` is the part of a claim's name after the dot; `what` says in words what is broken
    where the condition fails, `touch` which access it is about.
    """

    family: str
    what: str
    condition: z3.BoolRef
    touch: Touch | None = None


@dataclass(slots=True)
class Path:
    """A path: `model` is one of its states where known; `scene` belongs to whoever explores.

    met  what was owed and holds whatever the state, as (family, what)
    """

    memory: Memory
    scene: object = None
    conditions: tuple[z3.BoolRef, ...] = ()
    model: Model | None = None
    owed: tuple[Obligation, ...] = ()
    writes: tuple[Write, ...] = ()
    met: frozenset[tuple[str, str]] = frozenset()

    def fork(self) -> Path:
        """An independent path that starts where this one stands."""
        return Path(
            self.memory, self.scene, self.conditions, self.model, self.owed, self.writes, self.met
        )

    def write(self, entry: Write) -> None:
        """Changes memory, and records the change for claims about what may be written."""
        self.memory = self.memory.after(entry)
        self.writes += (entry,)

    def owe(self, family: str, what: str, truth: Truth, touch: Touch | None = None) -> None:
        """Adds an obligation."""
        if plain(truth) is True:
            self.meet((family, what))
        else:
            self.owed += (Obligation(family, what, condition(truth), touch),)

    def meet(self, owed: tuple[str, str]) -> None:
        """Notes an obligation that holds whatever the state."""
        if owed not in self.met:
            self.met |= {owed}


SMALL = 2**20


@dataclass(frozen=True, slots=True)
class _Name:
    """A variable that stands for a term; `whole` is as wide as that, `definition` says so.

    The definition keeps the term, whose number it is known by, alive.
    """

    variable: z3.BitVecRef
    whole: z3.BitVecRef
    definition: z3.BoolRef


class Reasoning:
    """Asks the solver about paths, and remembers what it has learnt.

    apart  (path, write, address, size) -> whether its conditions are known to keep them apart
    names  terms, by their number in z3, that have a name on every path on which they occur
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.apart: Callable[[Path, Write, z3.BitVecRef, int], bool] = lambda *_both: False
        self.names: dict[int, tuple[z3.BitVecRef, z3.BitVecRef]] = {}
        self._names = count()
        self._named: dict[tuple[int, int, int], _Name] = {}

    def model(self, path: Path) -> Model | None:
        """A state of the path; None if there is none.  Really asks unless one is known."""
        if path.model is None:
            path.model = self.solver.model(path.conditions)
        return path.model

    def counterexample(self, path: Path, truth: Truth) -> Model | None:
        """A state of the path in which `truth` fails."""
        return self.state(path, negate(truth))

    def possible(self, path: Path, truth: Truth) -> bool:
        """Whether it holds in some state of the path."""
        return self.state(path, truth) is not None

    def certain(self, path: Path, truth: Truth) -> bool:
        """Whether it holds in every state of the path."""
        return not self.possible(path, negate(truth))

    def assume(self, path: Path, truth: Truth) -> bool:
        """Narrows the path to the states in which it holds; False if none is left."""
        model = self.state(path, truth)
        if model is None:
            return False
        if plain(truth) is None:
            path.conditions += (truth,)
            path.model = model
        return True

    def split(self, path: Path, truth: Truth) -> Iterable[tuple[bool, Path]]:
        """The feasible sides of a branch, each with its own path."""
        decided = plain(truth)
        if decided is not None:
            return [(decided, path)]
        other = path.fork()
        sides = [(True, path)] if self.assume(path, truth) else []
        if self.assume(other, negate(truth)):
            sides.append((False, other))
        return sides

    def fresh(self, stem: str, width: int) -> z3.BitVecRef:
        """A variable that occurs nowhere else."""
        return z3.BitVec(f"{stem}.{next(self._names)}", width)

    def named(self, path: Path, term: z3.BitVecRef, stem: str) -> z3.BitVecRef:
        """The same value as a variable, as narrow as its range and alignment allow.

        Later terms then stay sums of variables, whose normal forms decide most questions.  The
        same term is the same variable on every path, so that questions recur.
        """
        if is_plain(term):
            return term
        if term.get_id() in self.names:
            return self.names[term.get_id()][1]
        if trailing_zeros(term) >= term.size():
            return number(0, term.size())
        zeros, high = trailing_zeros(term), self._highest(path, term)
        width = max(high.bit_length() - zeros, 1)
        name = self._name_of(term, stem, width, zeros)
        if not any(each is name.definition for each in path.conditions):
            path.conditions += (name.definition,)
            if path.model is not None:
                value = path.model.value(term) >> zeros
                path.model = path.model.extended(name.variable, value)
        return name.whole

    def _name_of(self, term: z3.BitVecRef, stem: str, width: int, zeros: int) -> _Name:
        """The term as a variable of `width` bits with `zeros` zero bits below it."""
        key = (term.get_id(), width, zeros)
        known = self._named.get(key)
        if known is None:
            variable = self.fresh(stem, width)
            parts = [variable] + ([number(0, zeros)] if zeros else [])
            if width + zeros < term.size():
                parts.insert(0, number(0, term.size() - width - zeros))
            whole = z3.Concat(*parts) if len(parts) > 1 else variable
            known = self._named[key] = _Name(variable, simplify(whole), whole == term)
        return known

    def _highest(self, path: Path, term: z3.BitVecRef) -> int:
        """An upper bound of the term; asks whether it is small where its form does not say so."""
        high = value_range(term)[1]
        model = self.model(path)
        if high < SMALL or model is None or model.value(term) >= SMALL:
            return high
        return SMALL - 1 if self.certain(path, less(term, SMALL)) else high

    def state(self, path: Path, truth: Truth) -> Model | None:
        """A state of the path in which it holds, None if there is none."""
        decided = plain(truth)
        if decided is not None:
            return self.model(path) if decided else None
        if path.model is not None and path.model.holds(truth):
            return path.model
        return self.solver.model((*path.conditions, truth))


@dataclass(frozen=True, slots=True)
class PathAsker:
    """Answers the questions of Memory.load for one path."""

    reasoning: Reasoning
    path: Path

    def state(self, truth: Truth) -> Model | None:
        """A state of the path in which it holds, None if there is none."""
        return self.reasoning.state(self.path, truth)

    def apart(self, write: Write, address: z3.BitVecRef, size: int) -> bool:
        """Whether the path's conditions are known to keep them apart."""
        return self.reasoning.apart(self.path, write, address, size)
