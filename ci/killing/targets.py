"""Targets of the kill table: each a planted bug or a mutant, written out and compiled.

It starts no engine and judges nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from allocator import adapter, artifacts, bugs, build, catalogue, description
from allocator.bugs import PARTS, PlantedBug
from allocator.description import Description
from allocator.subject import Subject, SubjectError
from ci.killing import source
from ci.killing.mutants import Mutant, mutants_of

BUG, MUTANT = "bug", "mutant"
# Arguments of the wrong type are no believable mistake: every compiler says so.  A target is built
# with the flags that it was compared with, so that it is compiled once.
_STRICT = ("-g0", "-Werror=incompatible-pointer-types", "-Werror=int-conversion")


@dataclass(frozen=True)
class Origin:
    """A correct allocator: `faces` are the descriptions of it and of its variants."""

    name: str
    faces: tuple[Path, ...]
    bundled: bool = True

    @property
    def folder(self) -> Path:
        """Where its C lies."""
        return self.faces[0].parent


@dataclass(frozen=True)
class Target:
    """A wrong allocator to be killed: `faces` are TOML files that any engine takes as a subject.

    `identity` lasts (see Mutant), `content` changes with any text of it; `rule` is the one that a
    planted bug names, "" for a mutant.
    """

    kind: str
    allocator: str
    name: str
    identity: str
    operator: str
    faces: tuple[Path, ...]
    content: str
    diff: str
    rule: str = ""

    @property
    def title(self) -> str:
        """Its name, and the rule that a planted bug is meant to break."""
        return f"{self.name} ({self.rule})" if self.rule else self.name

    @property
    def in_header(self) -> bool:
        """The edit is in a header of the allocator's own, which may declare its heap."""
        file = self.identity.partition(" ")[0]
        return self.kind == MUTANT and file.endswith(".h") and "/" not in file


@dataclass(frozen=True)
class Sorted:
    """Mutants after compilation: those that live, and why the others do not."""

    living: tuple[Target, ...]
    uncompiled: tuple[str, ...]
    identical: tuple[str, ...]
    doubles: tuple[str, ...]


def origin(spec: str) -> Origin:
    """What a word on the command line means: a bundled name, NAME+VARIANT or a path to a TOML."""
    if Path(spec).suffix == ".toml":
        path = Path(spec).resolve()
        if not path.is_file():
            raise SubjectError(f"{spec}: no such file")
        return Origin(description.read(path).name, (path,), bundled=False)
    name, _, variant = spec.partition("+")
    if name not in catalogue.bundled():
        known = ", ".join(catalogue.bundled())
        raise SubjectError(f"{spec}: no such bundled allocator or .toml (bundled: {known})")
    known = catalogue.variants(name)
    if spec not in known:
        raise SubjectError(f"{spec}: no such variant (known: {', '.join(known)})")
    return Origin(spec, tuple(map(_description_of, [spec] if variant else known)))


def _description_of(spec: str) -> Path:
    name, _, variant = spec.partition("+")
    return catalogue.HERE / name / (f"{variant}.toml" if variant else catalogue.PLAIN)


def mutants(of: Origin) -> list[Mutant]:
    """Every mutant of an allocator, not compiled yet."""
    return mutants_of(source.read(description.read(of.faces[0])))


def mutant_target(of: Origin, mutant: Mutant) -> Target:
    """A mutant, written out."""
    texts = _texts(of.folder, mutant.file) | {mutant.file: mutant.after}
    name = f"{of.name}+mutants/{mutant.name}"
    faces, content = _write(f"{of.name}-mutant", of.faces, texts)
    return Target(MUTANT, of.name, name, mutant.identity, mutant.operator, faces, content,
                  mutant.diff)  # fmt: skip


def bug_target(of: Origin, bug: PlantedBug) -> Target:
    """A planted bug, written out."""
    place = bugs.plant(bug, of.folder)
    texts = {path.relative_to(place).as_posix(): path.read_text() for path in place.rglob("*.[ch]")}
    faces, content = _write(f"{of.name}-{bug.name}", (of.folder / _face_of(bug),), texts)
    diff = f"{bug.story.strip()}\n\n- {bug.find.strip()}\n+ {bug.replace.strip()}\n"
    return Target(BUG, of.name, bug.subject, bug_identity(bug), "planted", faces, content, diff,
                  bug.rule)  # fmt: skip


def planted_bugs(of: Origin) -> list[PlantedBug]:
    """The planted bugs of a bundled allocator; none for a TOML of somebody's.

    A variant that was asked for by name has its own only.
    """
    every = bugs.planted(of.folder) if of.bundled else []
    names = {face.name for face in of.faces}
    return [bug for bug in every if _face_of(bug) in names]


def bug_identity(bug: PlantedBug) -> str:
    """What survivors.toml calls it."""
    return f"bugs/{bug.name}"


def _face_of(bug: PlantedBug) -> str:
    return f"{bug.variant}.toml" if bug.variant else catalogue.PLAIN


def sort_out(of: Origin, targets: Sequence[Target], objects: dict[str, tuple[str, ...]]) -> Sorted:
    """Which mutants live, once `objects` (see objects_of) of each are known; () did not compile.

    The same object code as the original's is the same allocator, whatever the source says.
    """
    originals = [objects_of(of.faces[0], with_heap) for with_heap in (False, True)]
    first: dict[tuple[str, ...], str] = {}
    heaps: dict[str, list[str]] = {"uncompiled": [], "identical": [], "doubles": []}
    living = []
    for target in targets:
        made = objects[target.name]
        if not made:
            heaps["uncompiled"].append(target.name)
        elif made in originals:
            heaps["identical"].append(target.name)
        elif made in first:
            heaps["doubles"].append(f"{target.name} (is {first[made]})")
        else:
            first[made] = target.name
            living.append(target)
    return Sorted(tuple(living), *map(tuple, heaps.values()))


def objects_of(face: Path, with_heap: bool = False) -> tuple[str, ...]:
    """Digests of the object code of an allocator's own sources, without debug information.

    () where it does not compile.  Where a header of its own declares the heap, the adapter that
    holds one is among them.
    """
    try:
        found = description.read(face)
        flags = build.subject_flags(replace(found, flags=_strictly(found)))
        own = [path for path in found.sources if path.is_relative_to(found.folder)]
        units = [build.Unit(path, flags, found.folder) for path in own]
        if with_heap:
            heap = artifacts.written(f"{found.name}-adapter", ".c", adapter.write(found))
            units.append(build.Unit(heap, (*flags, "-w"), found.folder))
        return tuple(artifacts.digest(build.compile_object(unit)) for unit in units)
    except SubjectError:
        return ()


def _strictly(found: Description) -> tuple[str, ...]:
    """The flags of a description, no more lenient than those of a target."""
    return tuple(dict.fromkeys((*found.flags, *_STRICT)))


def find(
    face: str, *, looking: bool, coverage: bool = False, noise: bool = False,
    prefix: str | None = None,
) -> Subject:  # fmt: skip
    """The subject of a target's face; without `looking` it has no predicate to be called.

    `prefix` is there to have catalogue.resolve's signature: a TOML names its calls.
    """
    found = description.read(Path(face))
    if not looking:
        calls = {name: text for name, text in found.calls.items() if name != "check"}
        found = replace(found, calls=calls)
    return catalogue.built(found, name=face, coverage=coverage, noise=noise)


@functools.cache
def _texts(folder: Path, file: str) -> dict[str, str]:
    """The C files of an allocator's folder, and the shared parts where `file` is one."""
    texts = {path.name: path.read_text() for path in sorted(folder.glob("*.[ch]"))}
    if file.startswith(f"{PARTS.name}/"):
        texts |= {f"{PARTS.name}/{path.name}": path.read_text() for path in PARTS.glob("*.h")}
    return texts


def _write(stem: str, faces: Sequence[Path], texts: dict[str, str]) -> tuple[tuple[Path, ...], str]:
    """The files in the store with a description for each face; and what names their content."""
    described = {face.name: _face(face) for face in faces}
    place = bugs.copy(stem, texts | described)
    base = {face.name: face.read_text() for face in faces}
    return tuple(place / name for name in described), artifacts.fingerprint([texts, base])


def _face(face: Path) -> str:
    """A TOML that is `face` with the allocator's own folder taken from where the TOML lies."""
    found: Description = description.read(face)

    def moved(path: Path) -> str:
        inside = path.is_relative_to(found.folder)
        return str(path.relative_to(found.folder)) if inside else str(path)

    keys = {
        "extends": str(face),
        "sources": [moved(path) for path in found.sources],
        "include": [moved(path) for path in found.include],
        "flags": list(_strictly(found)),
    }
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
