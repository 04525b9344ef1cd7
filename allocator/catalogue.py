"""From what a user typed to a built subject: a bundled name, a .toml, a .c or a .so.

It finds, describes and builds; it runs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from allocator import adapter, artifacts, bugs, build, description, discover
from allocator.bugs import PlantedBug
from allocator.description import Description
from allocator.subject import Subject, SubjectError

HERE = Path(__file__).resolve().parent
BUG_MARK = "+bugs/"


def bundled() -> list[str]:
    """Names of the allocators that come with allocheck."""
    return sorted(path.parent.name for path in HERE.glob("*/subject.toml"))


def planted_bugs(name: str) -> list[PlantedBug]:
    """The planted bugs of a bundled allocator."""
    return bugs.planted(_bundled_folder(name))


def resolve(spec: str, *, prefix: str | None = None, coverage: bool = False) -> Subject:
    """The subject that `spec` means, built.

    spec: best_fit, best_fit+bugs/NAME, or a path to a .toml, .c or .so.  prefix says how the
    functions of a .c or .so start; coverage builds with counters.  Raises SubjectError: one line
    that says what is wrong and what to do next, with a TOML skeleton where that helps.
    """
    suffix = Path(spec).suffix
    if not suffix and "/" not in spec.partition(BUG_MARK)[0]:
        return _bundled(spec, coverage)
    path = _existing(spec)
    if suffix == ".toml":
        found = description.read(path)
        if prefix:
            raise SubjectError(f"{spec}: a prefix is for .c and .so: the TOML names its calls")
        return built(found, name=spec, coverage=coverage)
    if suffix == ".c":
        found, notes = discover.in_source(path, prefix)
        return built(found, name=spec, coverage=coverage, notes=notes)
    if ".so" in Path(spec).suffixes:
        found, notes = discover.in_library(path, prefix)
        return built(found, name=spec, coverage=coverage, notes=notes)
    raise SubjectError(f"{spec}: not a subject: give a bundled name, x.toml, x.c or x.so")


def _existing(spec: str) -> Path:
    path = Path(spec)
    if path.is_file():
        return path.resolve()
    if path.exists():
        raise SubjectError(f"{spec}: not a file: give a bundled name, x.toml, x.c or x.so")
    raise SubjectError(f"{spec}: no such file (bundled: {', '.join(bundled())})")


def _bundled_folder(name: str) -> Path:
    if name not in bundled():
        raise SubjectError(f"{name}: {_unknown(name, bundled(), 'bundled allocator')}")
    return HERE / name


def _unknown(name: str, known: Iterable[str], what: str) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"
    return f"no such {what} ({hint})"


def _bundled(spec: str, coverage: bool) -> Subject:
    name, mark, bug_name = spec.partition(BUG_MARK)
    folder = _bundled_folder(name)
    found = description.read(folder / "subject.toml")
    if mark:
        planted = {bug.name: bug for bug in bugs.planted(folder)}
        if bug_name not in planted:
            raise SubjectError(f"{spec}: {_unknown(bug_name, planted, 'planted bug')}")
        found = found.moved(folder, bugs.plant(planted[bug_name], folder))
    return built(found, name=spec, coverage=coverage, is_bundled=True)


def built(
    found: Description,
    *,
    name: str,
    coverage: bool = False,
    is_bundled: bool = False,
    notes: tuple[str, ...] = (),
) -> Subject:
    """The subject of a description, compiled and linked; SubjectError if it does not build."""
    face = artifacts.written(f"{found.name}-adapter", ".c", adapter.write(found))
    try:
        library = build.subject_library(found, face, coverage=coverage)
    except SubjectError as error:
        raise SubjectError(f"{name}: {error}") from None
    return Subject(
        name=name,
        contract=found.contract,
        library=library,
        bundled=is_bundled,
        coverage=coverage and bool(found.sources),
        prebuilt=found.library,
        has=found.has,
        model=found.model,
        sources=found.sources,
        include=found.include,
        flags=found.flags,
        folder=found.folder,
        adapter=face,
        walker=found.walker,
        notes=notes,
    )
