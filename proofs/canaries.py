"""Each claim is made of a subject with a planted bug, and must be refuted there.

A claim that cannot be refuted says nothing.  Outcomes are kept by verdicts.py; what is planted,
subjects.py says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from allocator.subject import Subject, SubjectError
from proofs import inductive_claims, program_claims, verdicts, window_claims
from proofs.claims import Claim, Ledger, Refutation
from proofs.engine import LoopLimit
from proofs.exhibit import shown
from proofs.ir import Module
from proofs.path import Path as ProgramPath
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.replay import Replay
from proofs.solver import FAILURES, Solver, Unknown
from proofs.study import Study
from proofs.subjects import Planted, candidates, compiled, studies_of
from proofs.target import NATIVE
from proofs.walks import WalkError


class _Found(Exception):
    """The bug has shown: there is nothing more to look for."""


class _Hunt(Ledger):
    """A ledger that wants one refutation."""

    def settle(self, path: ProgramPath) -> bool:
        """As ever, but the first refutation ends the hunt."""
        holds = super().settle(path)
        if self.refuted:
            raise _Found
        return holds


@dataclass(frozen=True)
class Canary:
    """What became of a claim on a planted bug; replayed: of its counterexample on the library."""

    bug: str
    refuted: bool
    note: str
    replayed: Replay | None = None


def refuted_by(
    subject: Subject,
    claim: Claim,
    kind: str = "raw",
    *,
    since: float = 0.0,
    poll: Callable[[], None] = lambda: None,
) -> Canary:
    """Tries the claim on planted bugs until one refutes it; outcomes before `since` are forgotten.

    poll is called often and may raise Unknown to end a hunt.
    """
    result = Canary("", False, f"no bug is planted under {claim.rule}")
    for planted in candidates(subject, claim):
        result = _remembered(planted, claim, kind, since, poll)
        if result.refuted:
            break
    return result


def _remembered(planted: Planted, claim: Claim, kind: str, since: float, poll) -> Canary:
    module = compiled(planted.subject, kind, planted.wrapper)
    walker = planted.subject.walker
    rules = verdicts.digest_of([walker] if walker else [])
    digest = verdicts.key(module.digest, claim, planted.subject.contract, planted.prefix, rules)
    known = verdicts.recalled("canaries", digest, since)
    if known:
        replayed = known.pop("replayed")
        return Canary(**known, replayed=Replay(**replayed) if replayed else None)
    result = _tried(planted, module, claim, kind, poll)
    verdicts.keep("canaries", digest, asdict(result))
    return result


def _tried(planted: Planted, module: Module, claim: Claim, kind: str, poll) -> Canary:
    note = "no counterexample"
    for study in _hunts(planted, module, claim, kind):
        forget()
        reasoning = Reasoning(Solver(effort=study.effort, poll=poll))
        hunt = _Hunt(reasoning, (claim,), study.families)
        try:
            built = compiled(planted.subject, kind, planted.wrapper, study.flags)
            study.run(built, hunt)
        except _Found:
            refutation = hunt.refuted[claim.name]
            return Canary(
                planted.name, True, refutation.what, _replayed(planted, refutation, claim, study)
            )
        except (Unknown, LoopLimit, UnsupportedIr, WalkError, *FAILURES) as error:
            note = str(error)
    return Canary(planted.name, False, note)


def _replayed(
    planted: Planted, refutation: Refutation, claim: Claim, study: Study
) -> Replay | None:
    """What the library with the bug does; in a process of its own, for it may be the end of one."""
    if not NATIVE:
        return None
    try:
        built = planted.native(study.flags, claim.family == "no_undefined")
        return shown(refutation, claim, study, built, planted.name, sandbox=True)[1]
    except SubjectError as error:
        return Replay("", f"not replayed: {str(error).splitlines()[0]}")


def _hunts(planted: Planted, module: Module, claim: Claim, kind: str) -> list[Study]:
    """The studies in which the bug may show, cheap ones first."""
    name = claim.name.partition(".")[0]
    if name == inductive_claims.NAME:
        hunts = list(inductive_claims.hunts(planted.subject))
    elif name == window_claims.NAME:
        hunts = list(window_claims.hunts(planted.subject))
    else:
        hunts = program_claims.hunts(name, claim, planted.subject, module, planted.prefix)
    return hunts or [
        study for study in studies_of(planted.subject, module, kind=kind) if claim in study.claims
    ]
