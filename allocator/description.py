"""What a TOML file says of an allocator: its sources, its calls as C expressions, its contract.

It reads and checks the text, and builds nothing; DESIGN's format with the additions below.

Keys that the short form leaves out, all in [calls] and all optional:
    heap_type       the C type of the static variable `heap` (default: void *)
    declare         C code at file scope, after the headers: variables, small functions
    init_ok         what success looks like: "zero", "nonzero" or "any".  Default: a pointer or
                    bool is non-zero, another integer is zero, a void call cannot fail
    memalign        like aligned_alloc, over alignment and size
    posix_memalign  over result (a void **), alignment and size
    check           NULL, or the name (char *) of the first broken part of the heap's invariant
    walk            over blocks (struct heap_block { uint64_t address, size, used; } *) and
                    capacity: writes the heap's blocks from the lowest up, gives their number

and, at the top, `extends`: another TOML file whose keys hold unless they are given here, in
[calls] and [contract] key by key.  A file named there stays relative to the file that names it.
`restore` says what makes one trace independent of the one before: "memory" (the default: static
data, thread-local variables and all pages are put back) or "fork" (a process for each trace).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from allocator.subject import SubjectError
from models.contract import Contract, ContractError, from_table

FUNCTIONS = (
    "malloc",
    "calloc",
    "realloc",
    "aligned_alloc",
    "memalign",
    "posix_memalign",
    "free",
    "usable_size",
    "check",
    "walk",
)
CALL_KEYS = ("init", *FUNCTIONS, "heap_type", "declare", "init_ok")
INIT_OK = ("zero", "nonzero", "any")
DEFAULT_ARENA = 65536

MOST_EXTENDED = 4
_PATH_KEYS = frozenset({"sources", "include"})

_TEXT, _TEXTS, _TABLE = "a string", "a list of strings", "a table"
_KEYS = {
    "name": _TEXT,
    "sources": _TEXTS,
    "library": _TEXT,
    "include": _TEXTS,
    "flags": _TEXTS,
    "headers": _TEXTS,
    "target": _TEXT,
    "restore": _TEXT,
    "model": _TEXT,
    "extends": _TEXT,
    "calls": _TABLE,
    "contract": _TABLE,
}


@dataclass(frozen=True)
class Description:
    """An allocator as described; paths are absolute, `folder` is what relative flags mean.

    sources or library (exactly one) hold the code, calls the C text of each function by name,
    walker the Python file that walks the heap for the white-box rules, model the name of an
    exact model.  forks: each trace runs in a process of its own, rather than from restored memory.
    """

    name: str
    folder: Path
    calls: Mapping[str, str]
    sources: tuple[Path, ...] = ()
    library: Path | None = None
    include: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    contract: Contract = field(default_factory=Contract)
    model: str | None = None
    walker: Path | None = None
    forks: bool = False
    origin: str = ""

    @property
    def has(self) -> frozenset[str]:
        """The functions that can be called, init left out."""
        return frozenset(self.calls) & frozenset(FUNCTIONS)

    def moved(self, old: Path, new: Path) -> Description:
        """The same with every path inside folder `old` taken from folder `new` instead."""

        def move(path: Path) -> Path:
            return new / path.relative_to(old) if path.is_relative_to(old) else path

        return replace(
            self,
            folder=move(self.folder),
            sources=tuple(map(move, self.sources)),
            include=tuple(map(move, self.include)),
        )


def read(path: Path) -> Description:
    """The description in a TOML file; SubjectError names the key and the choices."""
    path = path.resolve()
    try:
        return parse(path.read_text(encoding="utf-8"), path.parent, path.stem, path.name)
    except OSError as error:
        raise SubjectError(str(error.strerror)) from None
    except UnicodeDecodeError as error:
        raise SubjectError(f"not UTF-8 text (byte {error.start})") from None


def parse(text: str, folder: Path, stem: str, origin: str) -> Description:
    """The description in a text; `stem` names it if it does not name itself."""
    table = _table(text, folder)
    contract, walker = _contract(table.get("contract", {}), folder)
    calls = _calls(table.get("calls", {}))
    if not contract.arena and re.search(r"\barena\b", calls.get("init", "")):
        contract = replace(contract, arena=DEFAULT_ARENA)
    if "alignment" not in table.get("contract", {}) and re.match(r"malloc\s*\(", calls["malloc"]):
        contract = replace(contract, alignment=0)
    return Description(
        name=table.get("name", stem),
        folder=folder,
        calls=calls,
        headers=tuple(table.get("headers", ())),
        flags=tuple(table.get("flags", ())),
        contract=contract,
        model=table.get("model"),
        walker=walker,
        forks=table.get("restore") == "fork",
        origin=origin,
        **_files(table, folder),
    )


def _table(text: str, folder: Path, depth: int = 0) -> dict[str, Any]:
    """The keys in a text, those that it extends among them, checked one by one."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SubjectError(f"not TOML: {error}") from None
    _check_keys(table)
    if "extends" not in table:
        return table
    base = _existing("extends", folder, table.pop("extends"))
    if depth == MOST_EXTENDED:
        raise SubjectError(f"extends: more than {MOST_EXTENDED} files deep, or in a circle")
    inherited = _table(base.read_text(encoding="utf-8"), base.parent, depth + 1)
    for key in _PATH_KEYS & inherited.keys():
        inherited[key] = [str((base.parent / name).resolve()) for name in inherited[key]]
    _find_walk(inherited.get("contract", {}), folder, base.parent)
    for key in ("calls", "contract"):
        table[key] = inherited.get(key, {}) | table.get(key, {})
    return inherited | table


def _find_walk(contract: dict, *folders: Path) -> None:
    """A walker that is inherited lies in the first of the folders that has it, or there is none."""
    name = contract.get("walk")
    if isinstance(name, str):
        found = [folder / name for folder in folders if (folder / name).is_file()]
        contract["walk"] = str(found[0].resolve()) if found else False


def _check_keys(table: Mapping[str, object]) -> None:
    for key, value in table.items():
        if key not in _KEYS:
            raise SubjectError(f"unknown key {key!r} (known: {', '.join(_KEYS)})")
        if not _is_of(_KEYS[key], value):
            raise SubjectError(f"{key} takes {_KEYS[key]}, not {value!r}")
    if table.get("restore", "memory") not in ("memory", "fork"):
        raise SubjectError(f"unknown restore {table['restore']!r} (known: memory, fork)")
    target = table.get("target", "x86_64")
    if target == "x86":
        raise SubjectError("target x86 (32-bit) is not executed yet: leave target out for x86_64")
    if target != "x86_64":
        raise SubjectError(f"unknown target {target!r} (known: x86_64)")


def _is_of(kind: str, value: object) -> bool:
    if kind is _TABLE:
        return isinstance(value, dict)
    if kind is _TEXT:
        return isinstance(value, str) and bool(value)
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _contract(table: Mapping[str, object], folder: Path) -> tuple[Contract, Path | None]:
    table = dict(table)
    walk = table.pop("walk", None)
    try:
        contract = from_table(table)
    except ContractError as error:
        raise SubjectError(f"[contract] {error}") from None
    if walk is None or walk is False:
        return contract, None
    if not isinstance(walk, str):
        raise SubjectError(f"[contract] walk takes a file name, or false, not {walk!r}")
    return contract, _existing("[contract] walk", folder, walk)


def _calls(table: Mapping[str, object]) -> Mapping[str, str]:
    for key, value in table.items():
        if key not in CALL_KEYS:
            raise SubjectError(f"[calls] unknown key {key!r} (known: {', '.join(CALL_KEYS)})")
        if not isinstance(value, str) or not value.strip():
            raise SubjectError(f"[calls] {key} takes C text in a string, not {value!r}")
    if "malloc" not in table:
        raise SubjectError('[calls] malloc is missing: say how to allocate, as in "my_alloc(size)"')
    if table.get("init_ok", "any") not in INIT_OK:
        raise SubjectError(f"[calls] init_ok is one of {', '.join(INIT_OK)}")
    return MappingProxyType({key: str(value).strip() for key, value in table.items()})


def _files(table: Mapping[str, object], folder: Path) -> dict[str, object]:
    sources, library = table.get("sources", []), table.get("library")
    if bool(sources) == bool(library):
        which = "both of them are" if library else "neither is"
        raise SubjectError(f"sources or library says where the code is: {which} given")
    return {
        "sources": tuple(_existing("sources", folder, name) for name in sources),
        "library": _existing("library", folder, library) if library else None,
        "include": tuple(
            _existing("include", folder, name, is_folder=True) for name in table.get("include", [])
        ),
    }


def _existing(key: str, folder: Path, name: str, is_folder: bool = False) -> Path:
    path = (folder / name).resolve()
    if not (path.is_dir() if is_folder else path.is_file()):
        kind = "folder" if is_folder else "file"
        raise SubjectError(f"{key}: no such {kind}: {name} (looked for {path})")
    return path
