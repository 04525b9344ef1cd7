"""Asks proofs/ of a survivor: does it do the same as the original on every valid heap?

It changes no entry of survivors.toml: what is proved is printed, and a human writes it down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from allocator import catalogue, description
from allocator.subject import Subject, SubjectError
from ci.killing import source, targets
from ci.killing.mutants import Mutant
from ci.killing.probing import probes_of
from ci.killing.targets import Target
from proofs.equivalence import EQUAL, UNDECIDED, Comparison, compare
from proofs.infection import Probed
from proofs.solver import PATIENT
from proofs.subjects import NoSubject, subject_of

EFFORT = 64 * PATIENT  # seconds are the limit here
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Proof:
    """What was found out of a target: the first face that is not proved equivalent, or the last.

    heaps    how many were looked at, of all its faces
    seconds  of CPU that they took
    """

    target: Target
    face: str
    outcome: Comparison
    heaps: int
    seconds: float

    def told(self) -> str:
        """One line, and the words for survivors.toml where it is proved."""
        found = self.outcome
        line = f"{self.target.name}  {self.face}: {found.word}: {found.why}"
        line += f" ({self.heaps} heaps"
        if found.calls is not None:
            line += f", {found.calls} calls in which the edit makes a difference at its place"
        line += f"; {self.seconds:.0f} s of CPU)"
        return f"{line}\n  {self.target.identity}" if found.word == EQUAL else line


def proofs_of(targets_: Iterable[Target], seconds: int, tell: Tell) -> Iterator[Proof]:
    """Compares each target with its original, every variant, within `seconds` of CPU a variant."""
    for target in targets_:
        yield _proof(target, seconds, tell)


def _proof(target: Target, seconds: int, tell: Tell) -> Proof:
    begun = time.process_time()
    name, outcome, heaps = target.allocator, Comparison(UNDECIDED, "it has no face", 0), 0
    probes = _probes(target)
    for face in filter(_takes_no_turns, target.faces):
        name = original_of(target.allocator, face)

        def progress(line: str, of: str = f"{target.name} {name}") -> None:
            if line:
                tell(f"{of}: {line}")

        try:
            one, other = subject_of(name), subject_of(str(face))
            probed = _probed(probes, face)
            outcome = compare(
                one, other, quick=True, effort=EFFORT, seconds=seconds, like=_walked(one, target),
                probed=probed, progress=progress,
            )  # fmt: skip
        except NoSubject as error:
            outcome = Comparison(UNDECIDED, str(error), 0)
        heaps += outcome.heaps
        if outcome.word != EQUAL:
            break
    return Proof(target, name, outcome, heaps, time.process_time() - begun)


def _walked(one: Subject, target: Target) -> Subject:
    """Whose heap walk says what is valid: its own, or that of the allocator it is a variant of."""
    return one if one.walker else subject_of(target.allocator.partition("+")[0])


def _takes_no_turns(face: Path) -> bool:
    """False where threads take turns behind one lock, in the functions of another face."""
    return not description.read(face).contract.threads


def _probes(target: Target) -> tuple[Target, ...]:
    """The original with probes at the place of the edit: the first that compile; () for none."""
    mutant = _mutant(target)
    if mutant is None:
        return ()
    origin = targets.origin(target.allocator)
    for probes in probes_of(mutant, source.read(description.read(origin.faces[0]))):
        made = tuple(targets.mutant_target(origin, each) for each in (probes.differs, probes.comes))
        if all(targets.objects_of(each.faces[0]) for each in made):
            return made
    return ()


def _mutant(target: Target) -> Mutant | None:
    """The mutant that the target is; None for a bug, or where its allocator is not bundled."""
    try:
        every = targets.mutants(targets.origin(target.allocator))
    except SubjectError:
        return None
    return next((each for each in every if each.identity == target.identity), None)


def _probed(probes: tuple[Target, ...], face: Path) -> Probed | None:
    """The probes' versions of a face."""
    same = [next(each for each in probe.faces if each.name == face.name) for probe in probes]
    return Probed(*(subject_of(str(each)) for each in same)) if same else None


def original_of(allocator: str, face: Path) -> str:
    """The correct subject that a face of a target is a version of."""
    if face.name == catalogue.PLAIN:
        return allocator.partition("+")[0]
    return f"{allocator.partition('+')[0]}+{face.stem}"
