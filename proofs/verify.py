"""Runs studies and turns ledgers into verdicts; the honesty of the word "proved" is kept here.

It neither explores nor prints.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from models.trace import Trace
from proofs import alignment_claims, bounded_claims, size_claims
from proofs.canaries import Canary, refuted_by
from proofs.claims import PROVED, REFUTED, UNKNOWN, Claim, Ledger
from proofs.counterexample import trace_of
from proofs.engine import Engine, LoopLimit
from proofs.ir import Module
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.replay import Replay, replay
from proofs.solver import Solver, Unknown
from proofs.sources import NoSubject, module_of, source_of
from proofs.study import Study


@dataclass
class Report:
    """A claim's verdict with everything it rests on.

    reasons    why it is not proved, each a line
    uncovered  basic blocks of the functions the study enters that no path executed
    canary     the planted bug that the same claim refuted, "" if none was needed
    """

    claim: Claim
    verdict: str
    bound: dict[str, int] | None
    assumptions: tuple[str, ...]
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)
    uncovered: tuple[str, ...] = ()
    canary: str = ""
    trace: Trace | None = None
    replayed: Replay | None = None


def studies(quick: bool = False, kind: str = "raw") -> tuple[Study, ...]:
    """All studies of an IR kind in the order they run, cheap ones first.

    The optimiser dissolves the functions that the size studies call; the bounded check calls
    only what the header declares, so it can be made of the optimised code too.
    """
    bounded = bounded_claims.study(bounded_claims.QUICK if quick else bounded_claims.FULL)
    if kind == "optimised":
        # Undefined behaviour cannot be seen there any more: the optimiser has made use of it.
        visible = tuple(claim for claim in bounded.claims if claim.family != "no_undefined")
        return (replace(bounded, claims=visible, entered=bounded_claims.PUBLIC),)
    return (*size_claims.STUDIES, *alignment_claims.STUDIES, bounded)


def claims_matching(pattern: str, quick: bool = False, kind: str = "raw") -> list[Claim]:
    """The claims whose name matches the glob."""
    every = [claim for study in studies(quick, kind) for claim in study.claims]
    return [claim for claim in every if fnmatch.fnmatch(claim.name, pattern)]


def unfinished(pattern: str, done: Sequence[Report], quick: bool, kind: str) -> list[Report]:
    """Reports for the claims that an interrupted run did not come to."""
    finished = {report.claim.name for report in done}
    return [
        Report(claim, UNKNOWN, study.bound_of(claim), study.assumptions, reasons=["interrupted"])
        for study in studies(quick, kind)
        for claim in study.claims
        if fnmatch.fnmatch(claim.name, pattern) and claim.name not in finished
    ]


def verify(
    spec: str,
    pattern: str = "*",
    *,
    quick: bool = False,
    kind: str = "raw",
    progress: Callable[[str], None] = lambda _text: None,
) -> Iterator[Report]:
    """A report for each claim that matches, as studies finish; raises NoSubject.

    progress is called with a line for people, and with "" often: it may raise to stop.

    kind: the IR as the programmer wrote it ("raw"), or "optimised" as -O2 made it.
    """
    module = module_of(source_of(spec), kind)
    wanted = {claim.name for claim in claims_matching(pattern, quick, kind)}
    for study in studies(quick, kind):
        claims = tuple(claim for claim in study.claims if claim.name in wanted)
        if claims:
            progress(f"{study.name}: {study.claims[0].says if len(claims) == 1 else 'exploring'}")
            forget()
            yield from _verify_study(spec, module, study, claims, kind, progress)


def _verify_study(spec, module: Module, study: Study, claims, kind: str, progress):
    started = time.monotonic()
    solver = Solver(poll=lambda: progress(""))
    ledger = Ledger(Reasoning(solver), claims, study.families, progress=progress)
    trouble, engine = _explored(module, study, ledger)
    seconds = time.monotonic() - started
    for claim in claims:
        report = Report(claim, PROVED, study.bound_of(claim), study.assumptions)
        report.seconds = seconds / len(claims)
        refutation = ledger.refuted.get(claim.name)
        if refutation is not None:
            report.verdict = REFUTED
            report.trace = trace_of(refutation, spec, claim.rule)
            report.reasons = [refutation.what]
            report.replayed = replay(report.trace, spec)
        else:
            report.reasons = _doubts(ledger, claim, trouble, claims)
            report.uncovered = _uncovered(module, study, engine)
            if not report.reasons:
                progress(f"{claim.name}: looking for the planted bug")
                _send_canary(report, claim, kind)
        if report.verdict == PROVED and report.reasons:
            report.verdict = UNKNOWN
        yield report


def _explored(module: Module, study: Study, ledger: Ledger) -> tuple[str, Engine | None]:
    """What went wrong, if anything did, and the engine with its coverage."""
    missing = [name for name in study.entered if name not in module.functions]
    if missing:
        return f"there is no function {missing[0]}", None
    try:
        return "", study.run(module, ledger)
    except (Unknown, LoopLimit, UnsupportedIr) as error:
        return str(error), None


def _doubts(ledger: Ledger, claim: Claim, trouble: str, claims) -> list[str]:
    """Why the absence of a counterexample is not a proof."""
    doubts = [trouble] if trouble else []
    if not trouble and not ledger.premises:
        doubts.append("the premise cannot be satisfied")
    if not trouble:
        doubts += [f"never put to the test: {what}" for what in ledger.untested(claim)]
    broken = [other.name for other in claims if other.name in ledger.refuted]
    if broken:
        doubts.append(f"the exploration ended where {broken[0]} was refuted")
    return doubts


def _uncovered(module: Module, study: Study, engine: Engine | None) -> tuple[str, ...]:
    if engine is None:
        return ()
    entered = sorted({*study.entered, *(name for name, _ in engine.covered)})
    return tuple(
        f"{name}:{block.name}"
        for name in entered
        for block in module.functions[name].blocks.values()
        if not block.trap and (name, block.name) not in engine.covered
    )


def _send_canary(report: Report, claim: Claim, kind: str) -> None:
    canary: Canary = refuted_by(claim, kind)
    if canary.refuted:
        report.canary = canary.bug
    else:
        report.reasons.append(f"the planted bug {canary.bug} was not refuted: {canary.note}")


__all__ = ["NoSubject", "Report", "claims_matching", "studies", "verify"]
