"""Each claim is made of a subject with a planted bug, and must be refuted there.

A claim that cannot be refuted says nothing.  Outcomes are kept by verdicts.py; what is planted,
subjects.py says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import z3

from allocator.subject import Subject
from proofs import program_claims, verdicts
from proofs.claims import Claim, Ledger
from proofs.engine import LoopLimit
from proofs.induction import Unnamed
from proofs.ir import Module
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.solver import Solver, Unknown
from proofs.study import Study
from proofs.subjects import candidates, compiled, studies_of
from proofs.walks import WalkError


@dataclass(frozen=True)
class Canary:
    """What became of a claim on a planted bug."""

    bug: str
    refuted: bool
    note: str


def refuted_by(subject: Subject, claim: Claim, kind: str = "raw", *, fresh: bool = False) -> Canary:
    """Tries the claim on planted bugs until one refutes it; from the cache unless `fresh`."""
    result = Canary("", False, f"no bug is planted under {claim.rule}")
    for bugged, wrapper in candidates(subject, claim):
        result = _remembered(bugged, wrapper, claim, kind, fresh)
        if result.refuted:
            break
    return result


def _remembered(
    bugged: Subject, wrapper: Path | None, claim: Claim, kind: str, fresh: bool
) -> Canary:
    module = compiled(bugged, kind, wrapper)
    digest = verdicts.key(module.digest, claim, bugged.contract)
    known = None if fresh else verdicts.recalled("canaries", digest)
    if known:
        return Canary(**known)
    name = f"{bugged.name} in {wrapper.name}" if wrapper else bugged.name
    result = _tried(bugged, name, module, claim, kind)
    verdicts.keep("canaries", digest, asdict(result))
    return result


def _tried(bugged: Subject, name: str, module: Module, claim: Claim, kind: str) -> Canary:
    note = "no counterexample"
    for study in _hunts(bugged, module, claim, kind):
        forget()
        ledger = Ledger(Reasoning(Solver(effort=study.effort)), (claim,), study.families)
        try:
            study.run(module, ledger)
        except (
            Unknown,
            LoopLimit,
            UnsupportedIr,
            Unnamed,
            WalkError,
            z3.Z3Exception,
            RecursionError,
        ) as error:
            note = str(error)
        refutation = ledger.refuted.get(claim.name)
        if refutation is not None:
            return Canary(name, True, refutation.what)
    return Canary(name, False, note)


def _hunts(bugged: Subject, module: Module, claim: Claim, kind: str) -> list[Study]:
    """The studies in which the bug may show, cheap ones first."""
    name = claim.name.partition(".")[0]
    hunts = program_claims.hunts(name, claim, bugged, module)
    return hunts or [
        study for study in studies_of(bugged, module, kind=kind) if claim in study.claims
    ]
