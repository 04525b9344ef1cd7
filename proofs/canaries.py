"""Each claim is made of a source with a planted bug, and must be refuted there.

A claim that cannot be refuted says nothing.  Outcomes are cached by everything they depend on:
the IR, the claim, the code of proofs/, and the versions of the solver and the IR reader.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache

import llvmlite
import z3

from proofs import alignment_claims, bounded_claims, size_claims
from proofs.claims import Claim, Ledger
from proofs.compile_ir import store
from proofs.engine import LoopLimit
from proofs.ir import Module
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.solver import Solver, Unknown
from proofs.sources import BUGS, CACHE, HERE, module_of, source_of
from proofs.study import Study


@dataclass(frozen=True)
class Canary:
    """What became of a claim on its planted bug."""

    bug: str
    refuted: bool
    note: str


def refuted_by(claim: Claim, kind: str = "raw", *, fresh: bool = False) -> Canary:
    """Tries the claim on its planted bug, in IR of that kind; from the cache unless `fresh`."""
    module = module_of(source_of(BUGS + claim.canary), kind)
    path = CACHE / "canaries" / f"{_key(module, claim)}.json"
    if path.is_file() and not fresh:
        return Canary(**json.loads(path.read_text()))
    result = _tried(module, claim)
    store(path, json.dumps(asdict(result)))
    return result


def _tried(module: Module, claim: Claim) -> Canary:
    study = _study_of(claim)
    ledger = Ledger(Reasoning(Solver()), (claim,), study.families)
    try:
        study.run(module, ledger)
        note = "no counterexample"
    except (Unknown, LoopLimit, UnsupportedIr) as error:
        note = str(error)
    refutation = ledger.refuted.get(claim.name)
    if refutation is None:
        return Canary(claim.canary, False, note)
    return Canary(claim.canary, True, refutation.what)


def _study_of(claim: Claim) -> Study:
    standing = (*size_claims.STUDIES, *alignment_claims.STUDIES)
    studies = {other.name: study for study in standing for other in study.claims}
    return studies.get(claim.name) or bounded_claims.hunt(claim)


def _key(module: Module, claim: Claim) -> str:
    parts = [module.digest, claim.name, z3.get_full_version(), llvmlite.__version__, _own_code()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _own_code() -> str:
    digest = hashlib.sha256()
    for path in sorted(HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
