"""Reads what a shared object says of itself: whether it can be loaded, its names, its prototypes.

It loads nothing; prototypes come from debug information (DWARF) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from allocator.subject import SubjectError

# Larger debug information takes a minute to read in Python: it counts as none.
DEBUG_LIMIT = 8 << 20
_PIE = 0x08000000
_TRANSPARENT = frozenset(
    f"DW_TAG_{word}_type" for word in ("const", "volatile", "restrict", "atomic")
) | {"DW_TAG_typedef"}
_EXTERNAL = ("STB_GLOBAL", "STB_WEAK", "STB_GNU_UNIQUE")


@dataclass(frozen=True)
class Prototype:
    """A function's type in the words that discover.py compares.

    returns and parameters are "pointer" (to void or a byte), "size" (8 bytes, unsigned), "int",
    "bool", "void", or the C type's name; names are the parameters', "" where unknown.
    """

    returns: str
    parameters: tuple[str, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        words = {"pointer": "void *", "size": "size_t"}
        shown = [words.get(kind, kind) for kind in (self.returns, *self.parameters)]
        return f"{shown[0]} ({', '.join(shown[1:]) or 'void'})"


@dataclass(frozen=True)
class Library:
    """What a shared object shows: exported functions and variables, prototypes where known."""

    functions: frozenset[str]
    variables: frozenset[str]
    prototypes: dict[str, Prototype]


def library(path: Path) -> Library:
    """Reads a shared object; SubjectError in one line if it cannot be loaded here."""
    with path.open("rb") as stream:
        try:
            elf = ELFFile(stream)
        except Exception:
            raise SubjectError(_what_else(path)) from None
        try:
            _check(path, elf)
            functions, variables = _exports(elf)
            prototypes = dict(_prototypes(elf)) if _has_debug(elf) else {}
        except SubjectError:
            raise
        except Exception as error:
            raise SubjectError(f"a broken ELF file ({error})") from None
    known = {name: kind for name, kind in prototypes.items() if name in functions}
    return Library(functions, variables, known)


def external_functions(path: Path) -> dict[str, Prototype]:
    """The functions with external linkage that a library with debug information defines."""
    with path.open("rb") as stream:
        return dict(_prototypes(ELFFile(stream)))


@dataclass(frozen=True)
class Imports:
    """What a shared object wants from others: names, and the libraries that it names."""

    names: frozenset[str]
    libraries: tuple[str, ...]


def imports(path: Path) -> Imports:
    """What the dynamic section of a shared object asks for."""
    with path.open("rb") as stream:
        found = ELFFile(stream)
        symbols = found.get_section_by_name(".dynsym").iter_symbols()
        names = frozenset(each.name for each in symbols if each["st_shndx"] == "SHN_UNDEF")
        part = next(found.iter_segments("PT_DYNAMIC"), None)
        tags = part.iter_tags("DT_NEEDED") if part else ()
        return Imports(names - {""}, tuple(tag.needed for tag in tags))


def undefined(path: Path) -> frozenset[str]:
    """The names that an object file needs from elsewhere."""
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        symbols = table.iter_symbols() if table else ()
        return frozenset(each.name for each in symbols if each["st_shndx"] == "SHN_UNDEF") - {""}


def _what_else(path: Path) -> str:
    start = path.read_bytes()[:64]
    if start.startswith(b"\x7fELF"):
        return "a truncated ELF file"
    if start.startswith(b"/* GNU ld script"):
        return "a linker script, not a library: give the .so.N that it names"
    return "not an ELF shared object" if start else "an empty file"


def _check(path: Path, elf: ELFFile) -> None:
    header = elf.header
    if elf.elfclass != 64:
        raise SubjectError(f"{elf.elfclass}-bit: only x86-64 libraries are executed")
    if header["e_machine"] != "EM_X86_64":
        machine = str(header["e_machine"]).removeprefix("EM_")
        raise SubjectError(f"built for {machine}: only x86-64 libraries are executed")
    size = path.stat().st_size
    if header["e_shoff"] + header["e_shnum"] * header["e_shentsize"] > size:
        raise SubjectError("a truncated ELF file")
    if any(part["p_offset"] + part["p_filesz"] > size for part in elf.iter_segments("PT_LOAD")):
        raise SubjectError("a truncated ELF file")
    if header["e_type"] != "ET_DYN" or _is_program(elf):
        kind = "an object file" if header["e_type"] == "ET_REL" else "a program"
        raise SubjectError(f"{kind}, not a shared object: link it with -shared")
    if not elf.get_section_by_name(".dynsym"):
        raise SubjectError("has no table of exported names (or is truncated)")


def _is_program(elf: ELFFile) -> bool:
    dynamic = next(elf.iter_segments("PT_DYNAMIC"), None)
    flags = dynamic.iter_tags("DT_FLAGS_1") if dynamic else ()
    return any(tag["d_val"] & _PIE for tag in flags)


def _exports(elf: ELFFile) -> tuple[frozenset[str], frozenset[str]]:
    functions, variables = set(), set()
    for symbol in elf.get_section_by_name(".dynsym").iter_symbols():
        info = symbol["st_info"]
        if symbol["st_shndx"] == "SHN_UNDEF" or info["bind"] not in _EXTERNAL:
            continue
        if info["type"] in ("STT_FUNC", "STT_GNU_IFUNC", "STT_LOOS"):
            functions.add(symbol.name)
        else:
            variables.add(symbol.name)
    return frozenset(functions), frozenset(variables - functions)


# ---- prototypes ----


def _has_debug(elf: ELFFile) -> bool:
    section = elf.get_section_by_name(".debug_info")
    return bool(section) and 0 < section.data_size <= DEBUG_LIMIT


def _prototypes(elf: ELFFile) -> Iterator[tuple[str, Prototype]]:
    for unit in elf.get_dwarf_info(follow_links=False).iter_CUs():
        for die in unit.get_top_DIE().iter_children():
            if die.tag != "DW_TAG_subprogram" or "DW_AT_name" not in die.attributes:
                continue
            if "DW_AT_external" in die.attributes and "DW_AT_declaration" not in die.attributes:
                yield _text(die, "DW_AT_name"), _prototype(unit, die)


def _prototype(unit: CompileUnit, die: DIE) -> Prototype:
    children = list(die.iter_children())
    formal = [each for each in children if each.tag == "DW_TAG_formal_parameter"]
    kinds = [_kind(each) for each in formal]
    names = [_text(each, "DW_AT_name") for each in formal]
    if any(each.tag == "DW_TAG_unspecified_parameters" for each in children):
        kinds, names = [*kinds, "..."], [*names, ""]
    return Prototype(_kind(die), tuple(kinds), tuple(names))


def _text(die: DIE, attribute: str) -> str:
    value = die.attributes.get(attribute)
    return value.value.decode(errors="replace") if value else ""


def _bare_type(die: DIE) -> DIE | None:
    """The type a DIE refers to, without qualifiers and typedefs; None for void."""
    while "DW_AT_type" in die.attributes:
        die = die.get_DIE_from_attribute("DW_AT_type")
        if die.tag not in _TRANSPARENT:
            return die
    return None


def _kind(die: DIE) -> str:
    found = _bare_type(die)
    if found is None:
        return "void"
    if found.tag == "DW_TAG_pointer_type":
        target = _bare_type(found)
        if target is None or _size(target) == 1:
            return "pointer"
        return f"{_c_name(target)} *"
    return _base_kind(found)


def _base_kind(found: DIE) -> str:
    name = _c_name(found)
    if found.tag != "DW_TAG_base_type":
        return name
    encoding = found.attributes["DW_AT_encoding"].value
    if encoding == 0x02:
        return "bool"
    if encoding == 0x07 and _size(found) == 8:
        return "size"
    return name


def _c_name(die: DIE) -> str:
    if die.tag == "DW_TAG_pointer_type":
        target = _bare_type(die)
        return f"{_c_name(target) if target else 'void'} *"
    word = {"DW_TAG_structure_type": "struct ", "DW_TAG_union_type": "union ",
            "DW_TAG_enumeration_type": "enum "}.get(die.tag, "")  # fmt: skip
    return f"{word}{_text(die, 'DW_AT_name') or '(unnamed)'}"


def _size(die: DIE) -> int:
    value = die.attributes.get("DW_AT_byte_size")
    return value.value if value and die.tag == "DW_TAG_base_type" else 0
