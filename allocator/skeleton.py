"""A first draft of a TOML description, for an allocator whose functions cannot be called unasked.

A guess for its user to correct: nothing is called on the strength of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from allocator.description import Description
from allocator.elf import Prototype
from allocator.subject import SubjectError

# A name that holds one of the words may have the role; the roles are filled in this order.
_ROLES = {
    "init": r"init|initiali[sz]e|create|setup",
    "calloc": r".*calloc",
    "realloc": r".*realloc|resize",
    "aligned_alloc": r"(mem)?align(ed)?",
    "usable_size": r"usable",
    "malloc": r".*m?alloc(ate)?",
    "free": r".*free|.*dealloc|release",
}
_ORDER = ("init", "malloc", "free", "realloc", "calloc", "aligned_alloc", "usable_size")
_USUAL = {
    "init": Prototype("void", ("pointer", "size"), ()),
    "malloc": Prototype("pointer", ("size",), ()),
    "calloc": Prototype("pointer", ("size", "size"), ()),
    "realloc": Prototype("pointer", ("pointer", "size"), ()),
    "aligned_alloc": Prototype("pointer", ("size", "size"), ()),
    "free": Prototype("void", ("pointer",), ()),
    "usable_size": Prototype("size", ("pointer",), ()),
}
# What the block and the numbers are called, in the order of the parameters.
_BLOCK = {"init": "arena", "realloc": "ptr", "free": "ptr", "usable_size": "ptr"}
_NUMBERS = {
    "init": ("arena_size",),
    "calloc": ("count", "size"),
    "aligned_alloc": ("alignment", "size"),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def draft(alone: Description, functions: frozenset[str], known: Mapping[str, Prototype]) -> str:
    """The draft as TOML text, to be saved beside the file that it describes."""
    chosen = _guess(functions) or {"malloc": "my_malloc", "free": "my_free"}
    types = {role: known.get(name, _USUAL[role]) for role, name in chosen.items()}
    code = f'library = "{alone.library.name}"' if alone.library else ""
    lines = [
        f'name = "{alone.name}"',
        code or f'sources = ["{alone.sources[0].name}"]',
        "",
        "[calls]  # C expressions over heap, size, count, alignment, ptr, arena, arena_size",
        *(f'{role} = "{_call(role, name, types[role])}"' for role, name in chosen.items()),
        "# The next lines are not needed where a header has them: headers = [...], above [calls].",
        "declare = '''",
        *(_declaration(name, types[role]) for role, name in chosen.items()),
        "'''",
        "",
        "[contract]",
        "alignment = 8",
    ]
    return "\n".join(lines) + "\n"


def offer(error: SubjectError, spec: str, folder: Path) -> str:
    """The error's line, with where its draft lies, if it has one: in `folder`, kept if it is there.

    It is to be moved: what it names is beside the file that it describes.  OSError.
    """
    if not error.skeleton:
        return str(error)
    path = folder / f"{Path(spec).stem}.toml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(error.skeleton)
    return f"{error}: a draft to fill in is {path}, to be moved beside {Path(spec).name}"


def _guess(functions: frozenset[str]) -> dict[str, str]:
    """The shortest name for each role; a name is used once, and without a malloc nothing is."""
    chosen: dict[str, str] = {}
    for role, pattern in _ROLES.items():
        named = re.compile(pattern, re.I)
        names = [name for name in functions if any(map(named.fullmatch, _WORD.findall(name)))]
        names = sorted(set(names) - set(chosen.values()), key=lambda name: (len(name), name))
        if names:
            chosen[role] = names[0]
    return {role: chosen[role] for role in _ORDER if role in chosen} if "malloc" in chosen else {}


def _call(role: str, name: str, prototype: Prototype) -> str:
    call = f"{name}({', '.join(_arguments(role, prototype.parameters))})"
    is_handle = role == "init" and _is_pointer(prototype.returns)
    return f"heap = {call}" if is_handle else call


def _arguments(role: str, kinds: tuple[str, ...]) -> list[str]:
    """A handle comes first, then the block; the numbers are in their usual order."""
    pointers = [i for i, kind in enumerate(kinds) if _is_pointer(kind)]
    block = pointers[-1] if pointers and role in _BLOCK else None
    numbers = list(_NUMBERS.get(role, ("size",)))
    arguments = []
    for i in range(len(kinds)):
        if i == block:
            arguments.append(_BLOCK[role])
        elif i in pointers:
            arguments.append("heap")
        else:
            arguments.append(numbers.pop(0) if numbers else "0")
    return arguments


def _declaration(name: str, prototype: Prototype) -> str:
    kinds = [_c_type(kind) for kind in (prototype.returns, *prototype.parameters)]
    return f"{kinds[0]} {name}({', '.join(kinds[1:]) or 'void'});".replace("* ", "*")


def _c_type(kind: str) -> str:
    if _is_pointer(kind):
        return "void *"
    return {"size": "size_t", "bool": "_Bool"}.get(kind, kind)


def _is_pointer(kind: str) -> bool:
    return kind == "pointer" or kind.endswith("*")
