"""Asks proofs/ of a survivor: does it do the same as the original on every valid heap?

It changes no entry of survivors.toml: what is proved is printed, and a human writes it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from allocator import catalogue
from ci.killing.targets import Target
from proofs.equivalence import EQUAL, UNDECIDED, Comparison, compare
from proofs.subjects import NoSubject, subject_of

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Proof:
    """What was found out of a target: the first face that is not proved equivalent, or the last."""

    target: Target
    face: str
    outcome: Comparison

    def told(self) -> str:
        """One line, and the words for survivors.toml where it is proved."""
        line = f"{self.target.name}  {self.face}: {self.outcome.word}: {self.outcome.why}"
        return f"{line}\n  {self.target.identity}" if self.outcome.word == EQUAL else line


def proofs_of(targets: Iterable[Target], seconds: int, tell: Tell) -> Iterator[Proof]:
    """Compares each target with its original, every variant, within `seconds` of CPU a variant."""
    for target in targets:
        yield _proof(target, seconds, tell)


def _proof(target: Target, seconds: int, tell: Tell) -> Proof:
    name, outcome = target.allocator, Comparison(UNDECIDED, "it has no face", 0)
    for face in target.faces:
        name = original_of(target.allocator, face)

        def progress(line: str, of: str = f"{target.name} {name}") -> None:
            if line:
                tell(f"{of}: {line}")

        try:
            one, other = subject_of(name), subject_of(str(face))
            outcome = compare(one, other, quick=True, seconds=seconds, progress=progress)
        except NoSubject as error:
            outcome = Comparison(UNDECIDED, str(error), 0)
        if outcome.word != EQUAL:
            break
    return Proof(target, name, outcome)


def original_of(allocator: str, face: Path) -> str:
    """The correct subject that a face of a target is a version of."""
    if face.name == catalogue.PLAIN:
        return allocator.partition("+")[0]
    return f"{allocator.partition('+')[0]}+{face.stem}"
