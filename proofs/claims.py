"""A claim, what became of it, and the ledger that settles what paths owe.

The ledger is where a verdict is earned: "proved" needs more than the absence of a counterexample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import z3

from proofs.logic import every
from proofs.path import Obligation, Path, Reasoning, Touch
from proofs.solver import Model

# narrow: as proved, but for code that the bound does not come to.
PROVED, NARROW, REFUTED, UNKNOWN = "proved", "narrow", "refuted", "unknown"


@dataclass(frozen=True)
class Claim:
    """What is claimed of a subject.

    name         study.family; the family is what obligations are filed under
    rule         the rule of models/rules.py that a counterexample breaks
    says         one sentence
    conclusions  what each of its obligations says when broken; all must have been put to the
                 test, or the proof would be about nothing
    """

    name: str
    rule: str
    says: str
    conclusions: tuple[str, ...]

    @property
    def family(self) -> str:
        """The part of the name after the dot."""
        return self.name.partition(".")[2]


@dataclass(frozen=True)
class Refutation:
    """A state in which the claim fails."""

    what: str
    path: Path
    model: Model
    touch: Touch | None = None


@dataclass
class Ledger:
    """Settles obligations on behalf of some claims.

    families  all that the study files obligations under: where one fails, no path goes on, so
              that each claim is looked at in heaps that were sound until then
    claims    those whose refutations are wanted
    ahead     seconds of CPU that went into what was found out before, by shares
    """

    reasoning: Reasoning
    claims: Sequence[Claim]
    families: frozenset[str]
    refuted: dict[str, Refutation] = field(default_factory=dict)
    reached: Counter = field(default_factory=Counter)
    premises: int = 0
    paths: int = 0
    ahead: float = 0.0
    progress: Callable[[str], None] = lambda _text: None

    def premise(self, path: Path) -> bool:
        """Asks the solver whether the premise of a study can hold at all."""
        holds = self.reasoning.solver.model(path.conditions, premise=True) is not None
        self.premises += holds
        return holds

    def settle(self, path: Path) -> bool:
        """Checks what the path owes and clears the debt; False when no state is left.

        Where an obligation fails, its claim is refuted and the path goes on with the states in
        which all of them hold.
        """
        owed, path.owed = path.owed, ()
        met, path.met = path.met, frozenset()
        if self.reasoning.model(path) is None:
            return False
        self.paths += 1
        self.reached.update(met)
        self.reached.update((entry.family, entry.what) for entry in owed)
        due = [
            entry
            for entry in owed
            if entry.family in self.families and not z3.is_true(entry.condition)
        ]
        if not due:
            return True
        everything = every(*(entry.condition for entry in due))
        if self.reasoning.counterexample(path, everything) is None:
            return True
        for claim in self.claims:
            self._look_for_refutation(claim, path, due)
        return self.reasoning.assume(path, everything)

    def _look_for_refutation(self, claim: Claim, path: Path, due: Iterable[Obligation]) -> None:
        if claim.name in self.refuted:
            return
        own = [entry for entry in due if entry.family == claim.family]
        if not own:
            return
        order = {what: rank for rank, what in enumerate(claim.conclusions)}
        for entry in sorted(own, key=lambda entry: order.get(entry.what, len(order))):
            model = self.reasoning.counterexample(path, entry.condition)
            if model is not None:
                self.refuted[claim.name] = Refutation(entry.what, path.fork(), model, entry.touch)
                return

    def untested(self, claim: Claim) -> list[str]:
        """Conclusions of the claim that no path put to the test."""
        missing = [what for what in claim.conclusions if not self.reached[claim.family, what]]
        if not any(family == claim.family for family, _ in self.reached):
            missing = missing or ["anything at all"]
        return missing
