"""Runs studies and turns ledgers into verdicts; the honesty of the word "proved" is kept here.

It neither explores nor prints.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import z3

from allocator.subject import Subject
from models.trace import Trace, from_text, to_text
from proofs import verdicts
from proofs.canaries import Canary, refuted_by
from proofs.claims import PROVED, REFUTED, UNKNOWN, Claim, Ledger
from proofs.counterexample import trace_of
from proofs.engine import Engine, LoopLimit
from proofs.ir import Module
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.replay import Replay, replay
from proofs.second import Second
from proofs.solver import Solver, Unknown
from proofs.study import Study
from proofs.subjects import NoSubject, compiled, inputs_of, studies_of


@dataclass
class Report:
    """A claim's verdict with everything it rests on.

    reasons    why it is not proved, each a line
    uncovered  basic blocks of the functions the study enters that no path executed
    canary     the planted bug that the same claim refuted, "" if none was needed
    cached     whether an earlier run found it out, in `seconds` of its own
    second     what a second solver said, "" if none was asked
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
    cached: bool = False
    second: str = ""


def claims_matching(
    subject: Subject, pattern: str, quick: bool = False, kind: str = "raw"
) -> list[Claim]:
    """The claims made of a subject whose name matches the glob; raises NoSubject."""
    studies = studies_of(subject, compiled(subject, kind), quick, kind)
    every = [claim for study in studies for claim in study.claims]
    return [claim for claim in every if fnmatch.fnmatch(claim.name, pattern)]


def unfinished(
    subject: Subject, pattern: str, done: Sequence[Report], quick: bool, kind: str
) -> list[Report]:
    """Reports for the claims that an interrupted run did not come to."""
    finished = {report.claim.name for report in done}
    return [
        Report(claim, UNKNOWN, study.bound_of(claim), study.assumptions, reasons=["interrupted"])
        for study in studies_of(subject, compiled(subject, kind), quick, kind)
        for claim in study.claims
        if fnmatch.fnmatch(claim.name, pattern) and claim.name not in finished
    ]


def verify(
    subject: Subject,
    pattern: str = "*",
    *,
    quick: bool = False,
    kind: str = "raw",
    fresh: bool = False,
    cross_check: bool = False,
    progress: Callable[[str], None] = lambda _text: None,
) -> Iterator[Report]:
    """A report for each claim that matches, as studies finish; raises NoSubject.

    progress is called with a line for people, and with "" often: it may raise to stop.

    kind: the IR as the programmer wrote it ("raw"), or "optimised" as -O2 made it.
    fresh: find everything out anew, canaries too.
    cross_check: ask a second solver too, and believe no earlier verdict; raises NoSecondSolver.
    """
    module = compiled(subject, kind)
    for study in studies_of(subject, module, quick, kind):
        claims = tuple(claim for claim in study.claims if fnmatch.fnmatch(claim.name, pattern))
        known = None if fresh or cross_check else _recalled(subject, module, study, claims)
        if known:
            yield from known
        elif claims:
            progress(f"{study.name}: {study.claims[0].says if len(claims) == 1 else 'exploring'}")
            forget()
            reports = []
            second = Second() if cross_check else None
            told = (kind, progress, fresh, second)
            for report in verify_study(subject, module, study, claims, *told):
                reports.append(report)
                yield report
            if not cross_check:
                _keep(subject, module, study, claims, reports)


def _key(subject: Subject, module: Module, study: Study, claims) -> str:
    told = (claims, study.assumptions, study.entered, study.bound, study.bounds, study.effort)
    canaries = verdicts.digest_of(inputs_of(subject))
    return verdicts.key(module.digest, subject.name, subject.contract, *told, canaries)


def _recalled(subject: Subject, module: Module, study: Study, claims) -> list[Report] | None:
    """The reports of an earlier run of the same study for the same claims."""
    known = verdicts.recalled("verdicts", _key(subject, module, study, claims)) if claims else None
    if known is None:
        return None
    reports = []
    for claim, kept in zip(claims, known["reports"], strict=True):
        kept["trace"] = from_text(kept["trace"]) if kept["trace"] else None
        kept["replayed"] = Replay(**kept["replayed"]) if kept["replayed"] else None
        rest = {name: tuple(kept.pop(name)) for name in ("assumptions", "uncovered")}
        reports.append(Report(claim, **kept, **rest, cached=True))
    return reports


def _keep(subject: Subject, module: Module, study: Study, claims, reports: list[Report]) -> None:
    kept = []
    for report in reports:
        entry = {**vars(report), "trace": to_text(report.trace) if report.trace else None}
        entry["replayed"] = asdict(report.replayed) if report.replayed else None
        kept.append({name: entry[name] for name in entry if name not in ("claim", "cached")})
    verdicts.keep("verdicts", _key(subject, module, study, claims), {"reports": kept})


def verify_study(
    subject: Subject,
    module: Module,
    study: Study,
    claims,
    kind: str,
    progress,
    fresh: bool = False,
    second: Second | None = None,
) -> Iterator[Report]:
    """A report for each of the study's `claims`."""
    started = time.monotonic()
    solver = Solver(effort=study.effort, poll=lambda: progress(""), second=second)
    ledger = Ledger(Reasoning(solver), claims, study.families, progress=progress)
    trouble, engine = _explored(module, study, ledger)
    seconds = time.monotonic() - started
    for claim in claims:
        report = Report(claim, PROVED, study.bound_of(claim), study.assumptions)
        report.seconds = seconds / len(claims)
        report.second = second.told() if second else ""
        refutation = ledger.refuted.get(claim.name)
        if refutation is not None:
            report.verdict = REFUTED
            report.trace = trace_of(refutation, subject.name, claim.rule, study.store)
            report.reasons = [refutation.what]
            report.replayed = replay(report.trace, subject)
        else:
            report.reasons = _doubts(ledger, claim, trouble, claims)
            report.uncovered = _uncovered(module, study, engine)
            if not report.reasons:
                progress(f"{claim.name}: looking for the planted bug")
                _send_canary(report, subject, claim, kind, fresh)
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
    except (z3.Z3Exception, RecursionError) as error:
        return f"the executor failed: {str(error)[:200]}", None


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


def _send_canary(report: Report, subject: Subject, claim: Claim, kind: str, fresh: bool) -> None:
    canary: Canary = refuted_by(subject, claim, kind, fresh=fresh)
    if canary.refuted:
        report.canary = canary.bug
    else:
        report.reasons.append(f"not refuted on the planted bug {canary.bug}: {canary.note}")


__all__ = ["NoSubject", "Report", "claims_matching", "unfinished", "verify", "verify_study"]
