"""Functions of a subject that are not executed but taken for any function of their arguments.

A keyed checksum is bit arithmetic that the solver cannot see through, and need not: what is proved
for every function holds for this one.  It is no place for functions with side effects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import z3

from allocator.subject import Subject
from proofs.c_library import aborts
from proofs.engine import Engine, Hook, Outcome
from proofs.path import Path

# allocator -> name of the function -> bits of its result
OPAQUE: dict[str, dict[str, int]] = {"best_fit": {"checksum_of": 64}}
# allocator -> functions that print something and end in abort
ABORTING: dict[str, tuple[str, ...]] = {"best_fit": ("report",)}
# allocator -> functions whose results are taken one by one: they choose a list
CHOOSING: dict[str, tuple[str, ...]] = {"tlsf": ("class_of",)}
# allocator -> what it is compiled with, so that its tables are small enough to walk, its paths few
SMALLER: dict[str, tuple[str, ...]] = {
    "tlsf": ("-DTLSF_SECOND_BITS=1",),
    "buddy": ("-DBUDDY_FIRST=7",),
    "bump+marks": ("-DMARKS_BRIEF",),
}


def hooks_of(subject: Subject) -> dict[str, Hook]:
    """A hook for each of the subject's functions that are not executed."""
    table = dict(of_name(subject, OPAQUE, ()))
    ends = dict.fromkeys(of_name(subject, ABORTING, ()), aborts)
    return ends | {name: _any_function(name, width) for name, width in table.items()}


def is_opaque(subject: Subject) -> bool:
    """Whether any of its functions is taken for any function."""
    return bool(of_name(subject, OPAQUE, ()))


def aborting_of(subject: Subject) -> frozenset[str]:
    """The functions that are taken to end in abort."""
    return frozenset(of_name(subject, ABORTING, ()))


def concrete_of(subject: Subject) -> frozenset[str]:
    """The functions whose results are taken one by one."""
    return frozenset(of_name(subject, CHOOSING, ()))


def flags_of(subject: Subject) -> tuple[str, ...]:
    """Extra flags that its sources are compiled with, here and nowhere else."""
    return tuple(of_name(subject, SMALLER, ()))


def told_of(subject: Subject, flags: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The same in words, for a report's assumptions; built with `flags` where others are given."""
    flags = flags_of(subject) if flags is None else flags
    opaque = [f"{name} is any function of its arguments" for name in of_name(subject, OPAQUE, ())]
    opaque += [f"{name} is taken to end in abort" for name in of_name(subject, ABORTING, ())]
    return (*opaque, *([f"built with {' '.join(flags)}"] if flags else []))


def of_name(subject: Subject, table: Mapping[str, Any], otherwise: Any) -> Any:
    """What a table says of the subject's variant, or of its allocator; of others, `otherwise`."""
    if not subject.bundled:
        return otherwise
    name, _, rest = subject.name.partition("+")
    return table.get(f"{name}+{rest.partition('+')[0]}", table.get(name, otherwise))


def applied(name: str, terms: Sequence[z3.BitVecRef], width: int = 64) -> z3.BitVecRef:
    """What the function of that name makes of the terms."""
    sorts = [term.sort() for term in terms]
    return z3.Function(name, *sorts, z3.BitVecSort(width))(*terms)


def _any_function(name: str, width: int) -> Hook:
    def hook(_engine: Engine, path: Path, terms: Sequence[z3.BitVecRef]) -> list[Outcome]:
        return [(path, applied(name, terms, width))]

    return hook
