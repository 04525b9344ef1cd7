"""A subject: an allocator under check, with its contract, built and ready to be loaded.

A value; allocator/catalogue.py finds it, allocator/executor.py runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.contract import Contract


class SubjectError(Exception):
    """A subject that cannot be had: one line that says what is wrong and what to do next.

    skeleton  a TOML description to fill in, where that is the way on; else ""
    """

    def __init__(self, message: str, skeleton: str = "") -> None:
        super().__init__(message)
        self.skeleton = skeleton


@dataclass(frozen=True)
class Subject:
    """An allocator under check.

    name      as traces and reports call it: tlsf, explicit_list+address_order,
              best_fit+bugs/NAME, or the path given
    library   the built shared object that exports `allocheck_subject`
    bundled   ours (runs in this process) or not (runs in the sandbox by default)
    coverage  built with coverage counters
    prebuilt  the .so that somebody else built, None for sources
    memory_known  all its memory is the harness's, or its own static data
    has       its functions: subset of malloc calloc realloc aligned_alloc memalign
              posix_memalign free usable_size check walk
    model     name of the exact model in models/ (bundled allocators only)
    sources   what was compiled, for the proofs and the reproducers
    folder    what relative flags mean
    adapter   the C file with the calls as described: functions allocheck_malloc and so on
    walker    the Python file that walks the heap, None where there is none
    notes     what was left out when its functions were looked for, one line each
    """

    name: str
    contract: Contract
    library: Path
    bundled: bool = False
    coverage: bool = False
    prebuilt: Path | None = None
    memory_known: bool = True
    has: frozenset[str] = frozenset()
    model: str | None = None
    sources: tuple[Path, ...] = ()
    include: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()
    folder: Path | None = None
    adapter: Path | None = None
    walker: Path | None = None
    notes: tuple[str, ...] = ()
