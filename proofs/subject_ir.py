"""A whole subject as one LLVM module: its adapter and its sources, compiled and linked.

It takes any subject that has C; what is proved of it is said elsewhere.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import llvmlite.binding as llvm

from allocator import artifacts, build
from allocator.subject import Subject
from proofs.ir import Module
from proofs.read_ir import UnsupportedIr, own_context, read_ir
from proofs.target import TARGET

SANITIZED = (
    "pointer-overflow,shift,signed-integer-overflow,bounds,integer-divide-by-zero,"
    "unreachable,return,builtin"
)
# Raw: what the programmer wrote, with undefined behaviour turned into branches to a trap.
# Unoptimised: the same before locals are promoted to registers, as -O0 has it.
# Optimised: what the compiler made of it, as a check of the translation.
TRAPS = (f"-fsanitize={SANITIZED}", "-fsanitize-trap=all")
FLAGS = {
    "raw": ("-O1", "-Xclang", "-disable-llvm-passes", *TRAPS),
    "unoptimised": ("-O0", "-Xclang", "-disable-O0-optnone", *TRAPS),
    "optimised": ("-O2", "-fno-sanitize=all", "-fno-vectorize", "-fno-slp-vectorize"),
}
COMMON = (
    *("-gline-tables-only", "-fno-strict-aliasing", "-UNDEBUG"),
    "-Werror=implicit-function-declaration",
)
# Like build.SUBJECT_FLAGS: an allocator's own malloc is not the library's, and one thread runs.
_AS_EXECUTED = tuple(
    flag for flag in build.SUBJECT_FLAGS if flag.startswith(("-fno-builtin-", "-D"))
)


class NoSource(Exception):
    """A subject without C to look at: one line that says so."""


def module_of(
    subject: Subject,
    kind: str = "raw",
    probe: str = "",
    wrapper: Path | None = None,
    flags: Sequence[str] = (),
) -> Module:
    """The linked module, the C of `probe` in it, and between it and the world the `wrapper`.

    A wrapper defines some of the adapter's functions; it finds the adapter's own, in which it is
    to plant a bug, with "sound_" in the place of "allocheck_".  `flags` are added to the subject's
    own, as where tables are made smaller for a proof.

    Raises NoSource, SubjectError for C that does not compile, UnsupportedIr.
    """
    if not subject.sources or subject.adapter is None:
        raise NoSource(f"{subject.name}: the proofs read C sources: give a .c or .toml, not a .so")
    units = [subject.adapter, *subject.sources]
    if (build.MEMLIB / "memlib.h") in _headers_read(units):
        units.append(build.HARNESS / "memlib.c")
    if probe:
        units.append(artifacts.written("probe", ".c", probe))
    files = [_compiled(unit, subject, (*FLAGS[kind], *flags)) for unit in units]
    if not wrapper:
        return _linked(tuple(map(str, files)), kind != "unoptimised")
    chosen = (*COMMON, *TARGET.flags, *FLAGS[kind])
    files.append(build.compile_ir(build.Unit(wrapper, chosen, wrapper.parent)))
    return _linked(tuple(map(str, files)), kind != "unoptimised", build.wrapped_in(wrapper))


def _compiled(source: Path, subject: Subject, chosen: Sequence[str]) -> Path:
    """The IR of one source, from the store if nothing it read has changed."""
    folder = subject.folder or source.parent
    own = [flag for flag in subject.flags if not flag.startswith(build.LINK_PREFIXES)]
    include = [f"-I{path}" for path in subject.include]
    paths = [f"-iquote{folder}", *include, f"-idirafter{build.MEMLIB}"]
    flags = (*COMMON, *TARGET.flags, *chosen, *_AS_EXECUTED, *own, *paths)
    if source == subject.adapter:
        flags = (*flags, "-w")
    return build.compile_ir(build.Unit(source, flags, folder))


def _headers_read(units: Sequence[Path]) -> set[Path]:
    """The malloc lab's header, where a source includes it by name."""
    told = any('"memlib.h"' in unit.read_text(errors="replace") for unit in units)
    return {build.MEMLIB / "memlib.h"} if told else set()


@functools.lru_cache(maxsize=64)
def _linked(files: tuple[str, ...], promote: bool, wrapped: tuple[str, ...] = ()) -> Module:
    """The files' module; the adapter's functions `wrapped` go by the name the wrapper calls."""
    texts = [Path(name).read_text() for name in files]
    if wrapped:
        # In the text: to compile the adapter anew for each wrapper takes longer than all else.
        texts[0] = re.sub(rf"@allocheck_({'|'.join(wrapped)})\b", r"@sound_\1", texts[0])
    context = own_context()  # of its own: in a shared one names of types are numbered on
    try:
        whole, *others = [llvm.parse_assembly(text, context) for text in texts]
        for other in others:
            whole.link_in(other)
    except RuntimeError as error:
        raise UnsupportedIr(f"the sources do not link: {str(error).splitlines()[0]}") from None
    return read_ir(str(whole), promote)
