"""What a solver has answered before: questions recur from heap to heap, and need asking once.

It asks nothing.  Conditions are known by z3's number for them, and kept, for z3 gives the number
of a dead term to a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import z3

Model = TypeVar("Model")
Question = frozenset[int]


@dataclass
class Answers(Generic[Model]):
    """The models found, by question, and the sets of conditions found to have none."""

    _models: dict[Question, Model] = field(default_factory=dict)
    _cores: dict[int, list[Question]] = field(default_factory=dict)  # by their newest condition
    _kept: list[Sequence[z3.BoolRef]] = field(default_factory=list)

    @staticmethod
    def question(conditions: Iterable[z3.BoolRef]) -> Question:
        """The conditions as a set of numbers."""
        return frozenset(condition.get_id() for condition in conditions)

    def model(self, question: Question) -> Model | None:
        """A model that was found for just this question."""
        return self._models.get(question)

    def is_hopeless(self, question: Question) -> bool:
        """Whether some of these conditions are known to have no model together."""
        cores = (core for newest in question for core in self._cores.get(newest, ()))
        return any(core <= question for core in cores)

    def found(self, conditions: Sequence[z3.BoolRef], model: Model) -> None:
        """Keeps a model of all conditions."""
        self._kept.append(conditions)
        self._models[self.question(conditions)] = model

    def found_none(self, core: Sequence[z3.BoolRef]) -> None:
        """Keeps that these conditions have no model together."""
        question = self.question(core)
        if question:
            self._kept.append(core)
            self._cores.setdefault(max(question), []).append(question)


__all__ = ["Answers"]
