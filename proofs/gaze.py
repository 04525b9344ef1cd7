"""A walk over the heap of a path: what it needs is owed; the path forks where its shape is open.

The conclusion of an induction.  Which words a heap has, and what they may hold, the walker says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import z3

from proofs.engine import Engine
from proofs.logic import Truth, at_most, equal, every, is_aligned, one_of, some
from proofs.opaque import applied
from proofs.path import Path
from proofs.sight import Fact, Number, seen, term_of, truth_of
from proofs.terms import WORD, simplify
from proofs.walks import STRAY, Among, Between, Places, View, Walker

UNSEALED = "a checksum is not that of what it seals"


class DeadEnd(Exception):
    """Nothing is left of the path once what the walk needs is taken for true."""


@dataclass
class Gaze(View):
    """The walker's view of a path.

    answers  those given so far by earlier walks of the same path, in order
    settle   checks what the path owes; False when no state is left
    """

    engine: Engine = None  # type: ignore[assignment]
    path: Path = None  # type: ignore[assignment]
    settle: Callable[[Path], bool] = None  # type: ignore[assignment]
    answers: tuple[bool, ...] = ()
    others: list[tuple[Path, tuple[bool, ...]]] = field(default_factory=list)
    named: list[tuple[Number, int]] = field(default_factory=list)
    _asked: int = 0

    def word(self, address, among, rule, what=STRAY, size=8):
        """Loads it, owes that it is among the candidates, and goes on where it is."""
        at = term_of(address)
        self.named.append((address, size))
        term = self.engine.load(self.path, at, size)
        value = seen(z3.ZeroExt(WORD - size * 8, term) if size * 8 < WORD else term, self.decide)
        self.need(rule, what, Fact(_among(term_of(value), among), self.decide))
        if isinstance(among, Between):
            return value
        return self._candidate(value, among)

    def _candidate(self, value: Number, among: Sequence[Number]) -> Number:
        """The candidate that it is, itself: a plain number may be one that is not plain."""
        for candidate in among[:-1]:
            if value == candidate:
                return candidate
        return among[-1]

    def need(self, rule, what, fact):
        """Owes it; where that is not certain, settles at once and goes on where it holds."""
        truth = truth_of(fact)
        again = self._asked < len(self.answers)  # an earlier walk of this path went past here
        if again or self.engine.reasoning.certain(self.path, truth):
            self.path.owe(rule, what, True)
            return
        self.path.owe(rule, what, truth)
        if not self.settle(self.path) or not self.engine.reasoning.assume(self.path, truth):
            raise DeadEnd

    def zeros(self, address, size, rule, what=STRAY):
        """Owes all of them at once."""
        self.named.append((address, size))
        held = self.engine.load(self.path, term_of(address), size)
        self.need(rule, what, Fact(equal(held, 0), self.decide))

    def sealed(self, address, name, arguments, rule):
        """Owes that the word is exactly that function of these arguments."""
        held = self.engine.load(self.path, term_of(address), 8)
        right = applied(name, [term_of(argument) for argument in arguments])
        self.need(rule, UNSEALED, Fact(equal(held, right), self.decide))

    def any_field(self, name):
        """Only notes that it was thought of."""
        self.named.append(self.places.field(name))

    def decide(self, truth: Truth) -> bool:
        """The answer on this path; the other side, where there is one, waits for its own walk."""
        if self._asked < len(self.answers):
            self._asked += 1
            return self.answers[self._asked - 1]
        sides = dict(self.engine.reasoning.split(self.path, truth))
        if not sides:
            raise DeadEnd
        if len(sides) == 2:
            self.others.append((sides[False], (*self.answers, False)))
        answer = True in sides
        self.path = sides[answer]
        self.answers, self._asked = (*self.answers, answer), self._asked + 1
        return answer


def _among(term, among: Among) -> Truth:
    if not isinstance(among, Between):
        return one_of(term, [term_of(candidate) for candidate in among])
    low, high = term_of(among.low), term_of(among.high)
    cases = []
    for flag in among.also:
        value = simplify(term - flag)
        into = is_aligned(simplify(value - low), among.step) if among.step > 1 else True
        cases.append(every(at_most(low, value), at_most(value, high), into))
    return some(*cases)


def looked(
    walker: Walker, places: Places, settings, engine: Engine, settle, path: Path, view=Gaze
) -> Iterator[tuple[Path, Gaze]]:
    """Every heap that the path may have, with all that the walk owes; `view` is a kind of Gaze."""
    waiting: list[tuple[Path, tuple[bool, ...]]] = [(path, ())]
    while waiting:
        begun, answers = waiting.pop()
        pages, owed = begun.scene.pages, begun.owed
        gaze = view(places, settings, engine=engine, path=begun, settle=settle, answers=answers)
        gaze.rows = tuple((seen(a, gaze.decide), seen(n, gaze.decide)) for a, n in pages.pieces)
        gaze.maps = tuple((seen(a, gaze.decide), seen(n, gaze.decide)) for a, n in pages.maps)
        try:
            walker.walk(gaze)
        except DeadEnd:
            continue
        finally:
            for other, taken in gaze.others:
                other.owed = owed
                waiting.append((other, taken))
        yield gaze.path, gaze
