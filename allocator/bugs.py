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

_KEYS = ("story", "rule", "file", "find", "replace", "deep")


@dataclass(frozen=True)
class PlantedBug:
    """One bug: in `file`, the text `find` (there exactly once) becomes `replace`.

    `deep` marks a bug that takes a long search; `path` is where it is written down.
    """

    name: str
    story: str
    rule: str
    file: str
    find: str
    replace: str
    deep: bool
    path: Path


def read(path: Path) -> PlantedBug:
    """The bug in a TOML file bugs/RULE/NAME.toml; SubjectError names what is wrong with it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SubjectError(f"{path}: {error}") from None
    unknown = sorted(set(table) - set(_KEYS))
    missing = [key for key in _KEYS[:-1] if not isinstance(table.get(key), str)]
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
    return PlantedBug(path.stem, deep=deep, path=path, **table)


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
