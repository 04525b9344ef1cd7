"""From what a user typed to what is proved: the subject, its module, its studies, its canaries.

It finds, compiles and plants bugs; it explores nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from allocator import bugs, catalogue
from allocator.subject import Subject, SubjectError
from models.trace import Op, from_text
from proofs import (
    alignment_claims,
    inductive_claims,
    opaque,
    program_claims,
    size_claims,
    walks,
    window_claims,
)
from proofs.claims import Claim
from proofs.ir import Module
from proofs.read_ir import UnsupportedIr
from proofs.study import Study
from proofs.subject_ir import TRAPS, NoSource, module_of
from proofs.target import NATIVE

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent / "allocator"
CANARIES = HERE / "canaries"
CACHE = HERE.parent / ".cache" / "proofs"
REFERENCE = "explicit_list"  # lends its canaries to allocators that have no planted bugs


class NoSubject(Exception):
    """A subject that cannot be proved here: one line that says why."""


@cache
def subject_of(spec: str, prefix: str | None = None) -> Subject:
    """The subject that `spec` means; raises NoSubject."""
    try:
        subject = catalogue.resolve(spec, prefix=prefix)
    except SubjectError as error:
        raise NoSubject(str(error)) from None
    if not subject.sources:
        raise NoSubject(f"{spec}: the proofs read C: give a .c, a .toml with sources, or a name")
    return subject


def compiled(
    subject: Subject,
    kind: str = "raw",
    wrapper: Path | None = None,
    flags: tuple[str, ...] | None = None,
    like: Subject | None = None,
) -> Module:
    """Its module, in a wrapper with a bug where one is given.

    flags: built with these beside its own; None for those of its programs' proofs.
    like: the subject whose heap walk looks at it, itself for None.

    Raises NoSubject when the C does not compile or cannot be read.
    """
    try:
        flags = opaque.flags_of(subject) if flags is None else flags
        return module_of(subject, kind, _probe(like or subject), wrapper, flags)
    except (SubjectError, NoSource, UnsupportedIr, walks.WalkError) as error:
        raise NoSubject(str(error)) from None


def _probe(subject: Subject) -> str:
    walker = walks.walker_of(subject) if NATIVE else None
    return walks.probe_of(walker) if walker else ""


def version_of(spec: str, one: Subject) -> Subject:
    """Another version of a subject: a subject, or the TOML of a bug that is planted in it.

    Raises NoSubject.
    """
    path = Path(spec)
    try:
        table = tomllib.loads(path.read_text("utf-8")) if path.suffix == ".toml" else {}
        if {"find", "replace"} <= set(table):
            return _planted(one.name.partition("+")[0], path).subject
    except (OSError, TypeError, ValueError, SubjectError) as error:
        raise NoSubject(f"{spec}: {error}") from None
    return subject_of(spec)


def as_proved(
    subject: Subject, flags: tuple[str, ...] | None = None, wrapper: Path | None = None
) -> Subject:
    """The subject built with the flags that it is proved with: there traces are replayed.

    wrapper: C with a bug that stands before the adapter.  Raises SubjectError.
    """
    flags = opaque.flags_of(subject) if flags is None else flags
    if not flags and wrapper is None:
        return subject
    return catalogue.resolve(subject.name, flags=flags, wrapper=wrapper)


def studies_of(
    subject: Subject, module: Module, quick: bool = False, kind: str = "raw"
) -> tuple[Study, ...]:
    """All studies in the order they run, cheap ones first.

    The optimiser dissolves the functions that the size studies call; what calls the adapter alone
    can be made of the optimised code too, but for undefined behaviour, which nobody can see there.
    """
    standing = (
        *program_claims.studies(subject, module, quick),
        *inductive_claims.studies(subject, quick),
        *window_claims.studies(subject, quick),
    )
    if kind == "optimised":
        return tuple(study.without("no_undefined") for study in standing)
    arithmetic = (*size_claims.STUDIES, *alignment_claims.STUDIES)
    return (*(arithmetic if program_claims.is_reference(subject) else ()), *standing)


@dataclass(frozen=True)
class Planted:
    """A subject with a bug, in a wrapper or in its C; the bug shows soon after the prefix.

    bug  the edit of its C where that stands in nobody's list
    """

    subject: Subject
    wrapper: Path | None = None
    prefix: tuple[Op, ...] = ()
    bug: bugs.PlantedBug | None = None

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"{self.subject.name} in {self.wrapper.name}" if self.wrapper else self.subject.name

    def native(self, flags: tuple[str, ...] | None, traps: bool) -> Subject:
        """The library with the bug, built with what it is proved with; raises SubjectError.

        traps: what is undefined ends it, as far as the proofs know of it
        """
        flags = opaque.flags_of(self.subject) if flags is None else flags
        flags = (*flags, *TRAPS) if traps else flags
        if self.bug and flags:
            return catalogue.planted(self.subject.name.partition("+")[0], self.bug, flags)
        return as_proved(self.subject, flags, self.wrapper)


def candidates(subject: Subject, claim: Claim) -> Iterator[Planted]:
    """What the claim must be refuted on, likely ones first.

    canaries/NAME/CLAIM.toml where that is, else the one that canaries/NAME.toml names, else the
    subject itself in the wrapper that breaks the claim of any subject, else the bugs planted under
    the rule, and then what bounded programs must be refuted on for that.  One that is not ours has
    its wrapper, and borrows the rest from the reference.
    """
    name = subject.name.partition("+")[0] if subject.bundled else REFERENCE
    own = HERE / "canaries" / name / f"{claim.name}.toml"
    chosen = _table(name).get(claim.name)
    wrapper = _wrapper(subject, claim)
    if wrapper and not subject.bundled:
        yield Planted(subject, wrapper)
    elif own.is_file():
        yield _planted(name, own)
    elif chosen:
        yield Planted(subject_of(chosen))
    elif wrapper:
        yield Planted(subject, wrapper)
    else:
        for bug in catalogue.planted_bugs(name):
            if bug.rule == claim.rule:
                yield Planted(subject_of(bug.subject))
        of_programs = own.with_name(f"bounded.{claim.family}.toml")
        if of_programs.is_file():
            yield _planted(name, of_programs)


def _wrapper(subject: Subject, claim: Claim) -> Path | None:
    """C that breaks the claim whatever it stands in front of."""
    study = claim.name.partition(".")[0]
    if study not in (*program_claims.STUDIES, inductive_claims.NAME, window_claims.NAME):
        return None
    what = claim.family
    if what == "zero_size":
        what += f"_{subject.contract.malloc_zero}"
    paths = [CANARIES / folder / f"{what}.c" for folder in (study, "any")]
    return next((path for path in paths if path.is_file()), None)


def inputs_of(subject: Subject) -> tuple[Path, ...]:
    """Files and folders that its canaries are made of."""
    name = subject.name.partition("+")[0] if subject.bundled else REFERENCE
    own = [CANARIES / each for each in (f"{name}.toml", name, "any", "inductive", "wrapped.h")]
    own += [subject.walker] if subject.walker else []
    return tuple(path for path in (*own, SOURCES / name, SOURCES / "parts") if path.exists())


@cache
def _table(name: str) -> dict[str, str]:
    """Claims and the subject that each must be refuted on."""
    path = HERE / "canaries" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@cache
def _planted(name: str, path: Path) -> Planted:
    """The allocator with a bug of the proofs' own."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    prefix = from_text(table.pop("prefix", "")).ops
    bug = bugs.PlantedBug(path.stem, deep=False, variant="", path=path, **table)
    return Planted(catalogue.planted(name, bug), prefix=prefix, bug=bug)
