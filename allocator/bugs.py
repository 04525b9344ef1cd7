"""Planted bugs: small edits of an allocator's source, each with its story and the rule it breaks.

It reads and applies them; who must catch which, the tests and ci/ say.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from allocator import artifacts
from allocator.subject import SubjectError
from models.rules import RULES

_TEXTS = ("story", "rule", "file", "find", "replace")
_KEYS = (*_TEXTS, "deep", "variant")
PARTS = Path(__file__).resolve().parent / "parts"


@dataclass(frozen=True)
class PlantedBug:
    """One bug: in `file`, the text `find` (there exactly once) becomes `replace`.

    `file` is one of the allocator's own, or parts/NAME.h, which several share.  `deep` marks a
    bug that takes a long search, `variant` is the variant of the allocator that shows it ("" for
    the plain one); `path` is where it is written down.
    """

    name: str
    story: str
    rule: str
    file: str
    find: str
    replace: str
    deep: bool
    variant: str
    path: Path

    @property
    def allocator(self) -> str:
        """The name of the allocator that has it."""
        return self.path.parents[2].name

    @property
    def subject(self) -> str:
        """What the catalogue calls the allocator with this bug."""
        variant = f"+{self.variant}" if self.variant else ""
        return f"{self.allocator}{variant}+bugs/{self.name}"


def read(path: Path) -> PlantedBug:
    """The bug in a TOML file bugs/RULE/NAME.toml; SubjectError names what is wrong with it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SubjectError(f"{path}: {error}") from None
    unknown = sorted(set(table) - set(_KEYS))
    missing = [key for key in _TEXTS if not isinstance(table.get(key), str)]
    if unknown or missing:
        wrong = f"unknown key {unknown[0]!r}" if unknown else f"{missing[0]} takes a string"
        raise SubjectError(f"{path}: {wrong} (known: {', '.join(_KEYS)})")
    if table["rule"] not in RULES:
        raise SubjectError(f"{path}: unknown rule {table['rule']!r} (known: {', '.join(RULES)})")
    if table["rule"] != path.parent.name:
        raise SubjectError(
            f"{path}: breaks {table['rule']}, so it belongs in bugs/{table['rule']}/"
        )
    deep = table.pop("deep", False)
    if type(deep) is not bool:
        raise SubjectError(f"{path}: deep takes true or false")
    variant = table.pop("variant", "")
    if not isinstance(variant, str):
        raise SubjectError(f"{path}: variant takes a string")
    return PlantedBug(path.stem, deep=deep, variant=variant, path=path, **table)


def planted(folder: Path) -> list[PlantedBug]:
    """The bugs of the allocator in `folder`, by name; SubjectError when two share a name."""
    bugs = [read(path) for path in sorted(folder.glob("bugs/*/*.toml"))]
    by_name: dict[str, PlantedBug] = {}
    for bug in bugs:
        if bug.name in by_name:
            raise SubjectError(f"two planted bugs are named {bug.name}: {bug.path} and another")
        by_name[bug.name] = bug
    return [by_name[name] for name in sorted(by_name)]


def plant(bug: PlantedBug, folder: Path) -> Path:
    """A copy of the C files of `folder` with the bug in it; its place in the store."""
    texts = {path.name: path.read_text() for path in sorted(folder.glob("*.[ch]"))}
    if bug.file.startswith(f"{PARTS.name}/"):
        texts |= {f"{PARTS.name}/{path.name}": path.read_text() for path in PARTS.glob("*.h")}
    if bug.file not in texts:
        raise SubjectError(f"{bug.path}: no such file in {folder.name}/: {bug.file}")
    count = texts[bug.file].count(bug.find)
    if count != 1:
        raise SubjectError(f"{bug.path}: find is there {count} times in {bug.file}, not once")
    texts[bug.file] = texts[bug.file].replace(bug.find, bug.replace)
    return copy(f"{folder.name}-{bug.name}", texts)


def copy(stem: str, texts: dict[str, str]) -> Path:
    """A folder in the store that holds these files, named after their contents."""
    place = artifacts.directory() / f"{artifacts.stem_of(stem)}-{artifacts.fingerprint(texts)}"
    for name, text in texts.items():
        artifacts.put(place / name, text.encode())
    return place
