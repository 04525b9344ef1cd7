"""The C library's functions that an allocator calls and that bring no memory: failing, printing.

What is printed goes nowhere; host.py has the functions that answer for memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

import z3

from proofs.engine import Engine, Outcome
from proofs.path import Path
from proofs.terms import constant_of

ABORTS = "a valid call ends in abort"
EXITS = "a valid call ends the process"
ASSERTION = "__assert_fail"  # where assert() ends, on Linux
STREAMS = frozenset({"stdin", "stdout", "stderr"})
_PRINTING = (
    *("printf", "fprintf", "vprintf", "vfprintf", "dprintf", "puts", "fputs", "putchar", "putc"),
    *("fputc", "fflush"),
)

Terms = Sequence[z3.BitVecRef]


def aborts(engine: Engine, path: Path, _terms: Terms) -> list[Outcome]:
    """What abort() does: the path ends, where no valid call should."""
    engine.end(path, "abort", ABORTS)
    return []


def _exits(engine: Engine, path: Path, _terms: Terms) -> list[Outcome]:
    engine.end(path, "abort", EXITS)
    return []


def _fails(engine: Engine, path: Path, terms: Terms) -> list[Outcome]:
    """What assert() does that fails: the same, and its words are the reason."""
    text, file = (_string(engine, term) for term in terms[:2])
    line = constant_of(terms[2])
    engine.end(path, "abort", f"an assertion fails, {PurePath(file).name}:{line}: {text}")
    return []


def _string(engine: Engine, address: z3.BitVecRef) -> str:
    """The characters of a constant string."""
    variable = engine.module.globals.get(engine.name_at(address) or "")
    return (variable and variable.text) or "?"


def _prints(engine: Engine, path: Path, _terms: Terms) -> list[Outcome]:
    """Its result may be anything; errno stays, as it does where printing succeeds."""
    return [(path, engine.reasoning.fresh("printed", 32))]


def _nothing(_engine: Engine, path: Path, _terms: Terms) -> list[Outcome]:
    return [(path, None)]


HOOKS: dict[str, Callable[[Engine, Path, Terms], list[Outcome]]] = {
    "abort": aborts,
    ASSERTION: _fails,
    **dict.fromkeys(("exit", "_exit", "_Exit", "quick_exit"), _exits),
    **dict.fromkeys(_PRINTING, _prints),
    "perror": _nothing,
}
