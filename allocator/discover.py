"""Finds an allocator's functions in a .c or .so by name, and only where the prototype is sure.

Sure means: debug information confirms it, the name is the C library's own or a well-known one, or
the user vouches for a prefix.  Anything else is not called: SubjectError with a TOML to fill in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from allocator import build, elf, skeleton
from allocator.description import DEFAULT_ARENA, Description
from allocator.elf import Prototype
from allocator.subject import SubjectError
from models.contract import Contract

# A name is a prefix and one of these; the first that fits, so that calloc is no `c` and `alloc`.
WORDS = {
    "posix_memalign": ("posix_memalign",),
    "memalign": ("memalign",),
    "aligned_alloc": ("aligned_alloc", "alloc_aligned", "aligned_malloc", "malloc_aligned"),
    "usable_size": ("malloc_usable_size", "usable_size"),
    "realloc": ("realloc", "reallocate"),
    "calloc": ("calloc",),
    "free": ("free", "dealloc", "deallocate"),
    "malloc": ("malloc", "alloc", "allocate"),
}
SHAPES = {
    "posix_memalign": ("void * *", "size", "size"),
    "memalign": ("size", "size"),
    "aligned_alloc": ("size", "size"),
    "usable_size": ("pointer",),
    "realloc": ("pointer", "size"),
    "calloc": ("size", "size"),
    "malloc": ("size",),
    "free": ("pointer",),
}
RETURNS = {"posix_memalign": "int", "usable_size": "size", "free": None}
TEXTS = {
    "posix_memalign": ("int {}(void **, size_t, size_t);", "{}(result, alignment, size)"),
    "memalign": ("void *{}(size_t, size_t);", "{}(alignment, size)"),
    "aligned_alloc": ("void *{}(size_t, size_t);", "{}(alignment, size)"),
    "usable_size": ("size_t {}(void *);", "{}(ptr)"),
    "realloc": ("void *{}(void *, size_t);", "{}(ptr, size)"),
    "calloc": ("void *{}(size_t, size_t);", "{}(count, size)"),
    "malloc": ("void *{}(size_t);", "{}(size)"),
    "free": ("void {}(void *);", "{}(ptr)"),
}
LIBC = {
    "malloc": "malloc",
    "calloc": "calloc",
    "realloc": "realloc",
    "free": "free",
    "aligned_alloc": "aligned_alloc",
    "memalign": "memalign",
    "posix_memalign": "posix_memalign",
    "malloc_usable_size": "usable_size",
}
_USUAL = ("malloc", "calloc", "realloc", "free")
# Families whose prototypes everybody knows: name of a function -> its role.
WELL_KNOWN = (
    {f"mm_{role}": role for role in _USUAL},
    {f"mem_{word}": role for word, role in
     {"alloc": "malloc", "calloc": "calloc", "realloc": "realloc", "free": "free"}.items()},
    {"pvPortMalloc": "malloc", "pvPortCalloc": "calloc", "pvPortRealloc": "realloc",
     "vPortFree": "free"},
    {f"umm_{role}": role for role in _USUAL},
    {f"je_{name}": role for name, role in LIBC.items()},
    {f"tc_{name}": role for name, role in LIBC.items()} | {"tc_malloc_size": "usable_size"},
    {f"mi_{name}": role for name, role in LIBC.items()} | {"mi_usable_size": "usable_size"},
    {f"dl{name}": role for name, role in LIBC.items()},
    {f"ned{role}": role for role in _USUAL},
)  # fmt: skip
# Of the well-known ones: these start by themselves, and those have an init(void).
_SELF_STARTING = frozenset({"", "pvPort", "je_", "tc_", "mi_", "dl", "ned"})
_INIT_VOID = frozenset({"mm_init", "umm_init"})
_INIT_WORD = re.compile(r"init|initiali[sz]e|setup|create", re.I)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class Found:
    """What was found: roles by function name, of which `init` may be one, and what was left out."""

    roles: Mapping[str, str]
    init: str | None
    notes: tuple[str, ...]


def in_source(path: Path, prefix: str | None) -> tuple[Description, tuple[str, ...]]:
    """The allocator in a C file, its prototypes confirmed by compiling it."""
    alone = Description(path.stem, path.parent, {}, sources=(path,), include=(path.parent,))
    known = elf.external_functions(build.probe(alone))
    return _describe(alone, path, frozenset(known), known, prefix)


def in_library(path: Path, prefix: str | None) -> tuple[Description, tuple[str, ...]]:
    """The allocator in a shared object, its prototypes confirmed by debug information or fame."""
    seen = elf.library(path)
    alone = Description(path.name.partition(".")[0], path.parent, {}, library=path)
    return _describe(alone, path, seen.functions, seen.prototypes, prefix)


def _describe(
    alone: Description,
    path: Path,
    functions: frozenset[str],
    known: Mapping[str, Prototype],
    prefix: str | None,
) -> tuple[Description, tuple[str, ...]]:
    try:
        found = find(functions, known, prefix, whole_program=bool(alone.sources))
    except SubjectError as error:
        draft = skeleton.draft(alone, functions, known)
        raise SubjectError(str(error), draft) from None
    return _description(alone, found, known), found.notes


def _description(alone: Description, found: Found, known: Mapping[str, Prototype]) -> Description:
    calls: dict[str, str] = {}
    declared: list[str] = []
    for name, role in found.roles.items():
        declaration, text = TEXTS[role]
        if role in ("aligned_alloc", "memalign") and _order(known.get(name)) == "size first":
            text = "{}(size, alignment)"
        declared.append(declaration.format(name))
        calls[role] = text.format(name)
    arena = 0
    if found.init:
        declaration, text, arena = _init_call(found.init, known.get(found.init))
        declared.append(declaration)
        calls["init"] = text
    calls["declare"] = "\n".join(declared)
    alignment = 0 if found.roles.get("malloc") == "malloc" else Contract().alignment
    return replace(
        alone,
        calls=calls,
        contract=Contract(alignment=alignment, arena=arena),
        origin=f"{(alone.sources or (alone.library,))[0].name}, found by name",
    )


def _init_call(name: str, prototype: Prototype | None) -> tuple[str, str, int]:
    """Declaration, C text and bytes of arena; a negative int is taken for failure."""
    takes_arena = bool(prototype and prototype.parameters)
    returns = prototype.returns if prototype else "int"
    word = {"bool": "_Bool ", "int": "int ", "void": "void "}.get(returns, "long ")
    if returns.endswith(("*", "pointer")):
        word = "void *"
    parameters, arguments = ("void *, size_t", "arena, arena_size") if takes_arena else ("void", "")
    text = f"{name}({arguments})"
    if word in ("int ", "long "):
        text = f"{text} < 0" if word == "int " else f"(void){text}"
    text = f"(int)({text})" if word == "int " else text
    return f"{word}{name}({parameters});", text, DEFAULT_ARENA if takes_arena else 0


# ---- finding ----


def find(
    functions: frozenset[str],
    known: Mapping[str, Prototype],
    prefix: str | None,
    *,
    whole_program: bool,
) -> Found:
    """Chooses the family of functions to call; SubjectError if none or several are sure.

    whole_program: `functions` are all that a source defines, so that one named like an
    initialisation belongs to the allocator whatever its prefix.
    """
    families = _families(functions, known)
    if prefix is not None:
        chosen = _vouched(functions, known, prefix)
        families = {prefix: chosen}
    elif not families:
        raise SubjectError(_nothing(functions, known))
    elif "" in families:
        families = {"": families[""]}
    if len(families) > 1:
        listed = ", ".join(f"{prefix} ({_malloc_of(roles)})" for prefix, roles in families.items())
        raise SubjectError(f"several allocators: {listed}: choose with --prefix")
    prefix, roles = next(iter(families.items()))
    init = _find_init(functions, known, prefix, whole_program)
    return Found(roles, init, tuple(_left_out(functions, known, prefix, roles)))


def _malloc_of(roles: Mapping[str, str]) -> str:
    return next(name for name, role in roles.items() if role == "malloc")


def _families(
    functions: frozenset[str], known: Mapping[str, Prototype]
) -> dict[str, dict[str, str]]:
    """Families of sure functions with a malloc among them, by prefix; one for each malloc."""
    families: dict[str, dict[str, str]] = {}
    for names in (LIBC, *WELL_KNOWN):
        roles = {
            n: names[n] for n in names if n in functions and fits(names[n], known.get(n), True)
        }
        families |= _with_malloc(roles)
    for prefix in sorted({_split(name)[0] for name in functions if _split(name)}):
        roles = _of_prefix(functions, prefix, lambda n, role: fits(role, known.get(n), False))
        for family, members in _with_malloc(roles).items():
            famous = families.setdefault(family, {})
            famous |= {n: role for n, role in members.items() if role not in famous.values()}
    return families


def _with_malloc(roles: dict[str, str]) -> dict[str, dict[str, str]]:
    if "malloc" not in roles.values():
        return {}
    return {_split(_malloc_of(roles))[0]: roles}


def _of_prefix(
    functions: frozenset[str], prefix: str, is_sure: Callable[[str, str], bool]
) -> dict[str, str]:
    """One function a role: of several names for it the one that comes first in WORDS."""
    roles: dict[str, str] = {}
    for role, words in WORDS.items():
        names = [n for n in sorted(functions) if _split(n) == (prefix, role) and is_sure(n, role)]
        names.sort(key=lambda n: words.index(n[len(prefix) :].lower()))
        if names:
            roles[names[0]] = role
    return roles


def _split(name: str) -> tuple[str, str] | None:
    """Prefix and role of a function's name; None for a name that says nothing."""
    lower = name.lower()
    for role, words in WORDS.items():
        for word in words:
            if lower.endswith(word):
                return name[: len(name) - len(word)], role
    return None


def fits(role: str, prototype: Prototype | None, is_famous: bool) -> bool:
    """Whether a function may be called in this role: by its prototype, else by its fame."""
    if prototype is None:
        return is_famous
    returns = RETURNS.get(role, "pointer")
    if prototype.parameters != SHAPES[role] or returns not in (None, prototype.returns):
        return False
    return is_famous or role not in ("aligned_alloc", "memalign") or bool(_order(prototype))


def _order(prototype: Prototype | None) -> str:
    """Which of two sizes is the alignment, from the parameters' names; "" where they don't say."""
    if prototype is None or len(prototype.names) != 2:
        return ""
    said = [bool(re.match(r"_*(al|bound)", name, re.I)) for name in prototype.names]
    if said[0] == said[1]:
        return ""
    return "alignment first" if said[0] else "size first"


def _vouched(
    functions: frozenset[str], known: Mapping[str, Prototype], prefix: str
) -> dict[str, str]:
    roles = _of_prefix(functions, prefix, lambda n, role: fits(role, known.get(n), True))
    if "malloc" in roles.values():
        return roles
    names = [n for n in sorted(functions) if _split(n) == (prefix, "malloc")]
    if names:
        raise SubjectError(f"{_mismatch(names[0], 'malloc', known)}: describe it in a TOML")
    others = sorted({_split(n)[0] for n in functions if (_split(n) or "")[1:] == ("malloc",)})
    shown = ", ".join(f"{other}malloc" for other in others)
    have = f" (there is {shown})" if others else ""
    raise SubjectError(f"no {prefix}malloc or {prefix}alloc with external linkage{have}")


def _nothing(functions: frozenset[str], known: Mapping[str, Prototype]) -> str:
    names = [n for n in sorted(functions) if (_split(n) or ("", ""))[1] == "malloc"]
    if not names:
        return "no function named like malloc or alloc: describe the allocator in a TOML"
    if any(name in known for name in names):
        told = next(name for name in names if name in known)
        return f"{_mismatch(told, 'malloc', known)}: describe how to call it in a TOML"
    prefix = _split(names[0])[0]
    return (
        f"no debug information confirms what {', '.join(names[:3])} takes: build with -g, give "
        f"--prefix {prefix} if it is void *(size_t), or describe it in a TOML"
    )


def _mismatch(name: str, role: str, known: Mapping[str, Prototype]) -> str:
    wanted = Prototype(RETURNS.get(role, "pointer") or "void", SHAPES[role], ())
    told = known.get(name)
    if told and told.parameters == wanted.parameters and told.returns == wanted.returns:
        return f"{name} does not say which parameter is the alignment"
    return f"{name} is {told or 'of unknown type'}, not {wanted}"


def _left_out(
    functions: frozenset[str],
    known: Mapping[str, Prototype],
    prefix: str,
    roles: Mapping[str, str],
) -> Iterator[str]:
    for name in sorted(functions - set(roles)):
        split = _split(name)
        if (not prefix and name not in LIBC) or not split or split[0] != prefix:
            continue
        if split[1] in roles.values():
            yield f"{name} is left out: another function has its role"
        else:
            yield f"{name} is left out: {_mismatch(name, split[1], known)}"


# ---- init ----


def _find_init(
    functions: frozenset[str], known: Mapping[str, Prototype], prefix: str, whole_program: bool
) -> str | None:
    """The function to call first, None if there is none; SubjectError where that is not sure."""
    if prefix in _SELF_STARTING and not whole_program:
        return None
    names = [
        name
        for name in sorted(functions)
        if any(map(_INIT_WORD.fullmatch, _WORD.findall(name)))
        and (whole_program or name.lower().startswith(prefix.lower()))
    ]
    exact = [name for name in names if name.lower() in (f"{prefix}init".lower(), "init")]
    names = exact if len(exact) == 1 else names
    if not names:
        return None
    if len(names) > 1:
        raise SubjectError(
            f"several functions may have to be called first ({', '.join(names)}): "
            "say which in a TOML"
        )
    told = known.get(names[0])
    if told and told.parameters in ((), ("pointer", "size")):
        return names[0]
    if told is None and names[0] in _INIT_VOID:
        return names[0]
    raise SubjectError(
        f"{names[0]} may have to be called first, and is {told or 'of unknown type'}: "
        "say how in a TOML"
    )
