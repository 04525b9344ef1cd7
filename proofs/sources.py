"""Where the C comes from: best_fit, best_fit with a planted bug, or a variant in a file.

It finds text and compiles it to the engine's records; it judges nothing.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from allocator import catalogue
from proofs.compile_ir import CompileError, SourceFile, compile_ir
from proofs.ir import Module
from proofs.read_ir import read_ir
from proofs.scenery import LAYOUT_PROBE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "proofs"
ORIGINAL = ROOT / "allocator" / "best_fit" / "best_fit.c"
INCLUDE = (ORIGINAL.parent, ORIGINAL.parent.parent)
BUGS = "best_fit+bugs/"


class NoSubject(Exception):
    """A subject that cannot be proved here: one line that says why."""


@dataclass(frozen=True)
class Bug:
    """A planted bug: in best_fit.c, `find` (there exactly once) becomes `replace`."""

    name: str
    story: str
    find: str
    replace: str

    def planted(self, text: str) -> str:
        """The source with the bug in it; NoSubject if it does not fit."""
        count = text.count(self.find)
        if count != 1:
            raise NoSubject(f"the bug {self.name} finds its place {count} times, not once")
        return text.replace(self.find, self.replace)


@cache
def bugs() -> dict[str, Bug]:
    """Every planted bug of best_fit.c by name; the proofs' own are named like their claim."""
    known = {
        bug.name: Bug(bug.name, bug.story, bug.find, bug.replace)
        for bug in catalogue.planted_bugs("best_fit")
        if bug.file == ORIGINAL.name
    }
    for path in sorted((HERE / "canaries").glob("*.toml")):
        table = tomllib.loads(path.read_text())
        known[path.stem] = Bug(path.stem, table["story"], table["find"], table["replace"])
    return known


def source_of(spec: str) -> SourceFile:
    """The C that `spec` means: best_fit, best_fit+bugs/NAME or a file; raises NoSubject."""
    original = SourceFile(ORIGINAL, ORIGINAL.read_text(), INCLUDE)
    if spec == "best_fit":
        return original
    if spec.startswith(BUGS):
        bug = bugs().get(spec.removeprefix(BUGS))
        if bug is None:
            raise NoSubject(f"{spec}: no such planted bug (ls allocator/best_fit/bugs/*)")
        return replace(original, text=bug.planted(original.text))
    path = Path(spec)
    if path.suffix == ".c" and path.is_file():
        if "best_fit.h" not in path.read_text(errors="replace"):
            raise NoSubject(f"{spec}: does not include best_fit.h: the proofs know no other yet")
        return SourceFile(path, path.read_text(), (path.resolve().parent, *INCLUDE))
    raise NoSubject(
        f"{spec}: the proofs know best_fit, {BUGS}NAME, and files NAME.c that implement best_fit.h"
    )


def module_of(source: SourceFile, kind: str = "raw") -> Module:
    """The compiled module; raises NoSubject when the C does not compile or cannot be read."""
    probed = replace(source, text=source.text + LAYOUT_PROBE)
    try:
        return read_ir(compile_ir(probed, CACHE / "ir", kind))
    except CompileError as error:
        raise NoSubject(f"{source.path.name} does not compile: {error}") from None
