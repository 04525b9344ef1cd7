"""Subjects for several threads, and bugs planted in copies of them: tests/subjects/threads.

It tests nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from allocator import bugs, build
from allocator.bugs import PlantedBug

THREADS = Path(__file__).resolve().parent / "subjects" / "threads"
ALLOCATOR = Path(build.__file__).resolve().parent
CACHED = THREADS / "cached.toml"
BUGS = {path.stem: path for path in sorted(THREADS.glob("bugs/*/*.toml"))}


def bug(name: str) -> PlantedBug:
    """A planted bug by name."""
    return bugs.read(BUGS[name])


def plant(name: str, folder: Path) -> Path:
    """The description of a copy, in `folder`, of the subject that the bug is for."""
    planted = bug(name)
    if planted.file == "locked.h":
        return _plant_locked(planted, folder)
    for each in ("cached.c", "cached.h", "cached.toml"):
        shutil.copy(THREADS / each, folder)
    _edit(folder / planted.file, planted)
    return folder / "cached.toml"


def _plant_locked(planted: PlantedBug, folder: Path) -> Path:
    """explicit_list behind parts/locked.h, where the bug is."""
    shutil.copytree(ALLOCATOR / "parts", folder / "parts")
    _edit(folder / "parts" / planted.file, planted)
    home = ALLOCATOR / "explicit_list"
    text = f'extends = "{home / "locked.toml"}"\nname = "locked"\n'
    text += f'include = [".", "{home}", "{ALLOCATOR}"]\n'
    (folder / "locked.toml").write_text(text)
    return folder / "locked.toml"


def _edit(file: Path, planted: PlantedBug) -> None:
    text = file.read_text()
    assert text.count(planted.find.strip("\n")) == 1, f"{planted.path}: find is not there once"
    file.write_text(text.replace(planted.find.strip("\n"), planted.replace.strip("\n")))
