"""A study: one exploration of the compiled code that serves one or more claims.

The pieces that the studies share; each study says for itself what it explores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proofs.claims import Claim, Ledger
from proofs.engine import Engine, Outcome
from proofs.host import ENOMEM, errno_of
from proofs.ir import Module
from proofs.path import Path
from proofs.scenery import lasting_writes
from proofs.solver import PATIENT, Unknown

REFUSAL = (
    "a refused request returns a block",
    "a refused request does not say why in errno",
    "a refused request touches the heap",
)


class FellShort(Exception):
    """An exploration that came through smaller bounds only.

    ops   the operations up to which every program was looked at
    left  what was not finished, and why: one line
    """

    def __init__(self, engine: Engine, ops: int, left: str) -> None:
        super().__init__(left)
        self.engine, self.ops, self.left = engine, ops, left


@dataclass(frozen=True)
class Study:
    """What is explored for some claims.

    entered  functions that must be there, and are entered beside those that a path comes to
    run      explores and settles; returns the engine for its coverage; raises LoopLimit,
             Unknown, UnsupportedIr, FellShort
    bound    None for all inputs, else {"ops": k}
    store    bytes that a store must hold for its counterexamples, 0 for the default
    effort   units of work after which it gives up; solver.py says what a unit is
    bounds   smaller bounds of single claims, by name
    flags    what its module is compiled with beside the subject's own; None for the usual
    """

    name: str
    claims: tuple[Claim, ...]
    assumptions: tuple[str, ...]
    entered: tuple[str, ...]
    run: Callable[[Module, Ledger], Engine]
    bound: dict[str, int] | None = None
    bounds: Mapping[str, dict[str, int]] = field(default_factory=dict)
    store: int = 0
    effort: int = PATIENT
    flags: tuple[str, ...] | None = None

    def bound_of(self, claim: Claim) -> dict[str, int] | None:
        """The bound up to which the claim is looked at."""
        return self.bounds.get(claim.name, self.bound)

    def without(self, family: str) -> Study:
        """The same without the claim on one family; its obligations are still owed."""
        return replace(self, claims=tuple(one for one in self.claims if one.family != family))

    @property
    def families(self) -> frozenset[str]:
        """The families of all its claims."""
        return frozenset(claim.family for claim in self.claims)


def within(seconds: int, progress: Callable[[str], None]) -> Callable[[], None]:
    """What solvers call before each query; raises Unknown when the CPU time is used up.

    seconds  0 for any number
    """
    last = time.process_time() + seconds

    def poll() -> None:
        progress("")
        if seconds and time.process_time() > last:
            raise Unknown(f"{seconds} s of CPU were not enough")

    return poll


def settle_all(engine: Engine, ledger: Ledger, outcomes: Sequence[Outcome]) -> None:
    """Settles the paths that returned and those that ended inside."""
    for path in [*(path for path, _ in outcomes), *engine.ended]:
        ledger.settle(path)
    engine.ended.clear()


def owe_refusal(engine: Engine, path: Path, family: str, result, error: int = ENOMEM) -> None:
    """What every refused request owes: NULL, errno, and the heap left alone."""
    path.owe(family, REFUSAL[0], result == 0)
    path.owe(family, REFUSAL[1], errno_of(engine, path) == error)
    path.owe(family, REFUSAL[2], not lasting_writes(path))
