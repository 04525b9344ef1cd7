"""Runs studies and turns ledgers into verdicts; the honesty of the word "proved" is kept here.

It neither explores nor prints.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from allocator.subject import Subject
from models.trace import Trace, from_text, to_text
from proofs import verdicts
from proofs.canaries import Canary, refuted_by
from proofs.claims import PROVED, REFUTED, UNKNOWN, Claim, Ledger
from proofs.coverage import missed, told
from proofs.engine import Engine, LoopLimit
from proofs.evidence import numbers, unseen
from proofs.exhibit import shown
from proofs.ir import Module
from proofs.outline import Sketch
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.replay import Replay
from proofs.second import Second
from proofs.shares import Shared
from proofs.solver import FAILURES, Solver, Unknown
from proofs.study import FellShort, Study, within
from proofs.subjects import NoSubject, as_proved, compiled, inputs_of, studies_of
from proofs.walks import WalkError


@dataclass
class Report:
    """A claim's verdict with everything it rests on.

    reasons    why it is not proved, each a line
    executed   basic blocks, function:block, that a path of its exploration executed
    uncovered  those of the functions entered that none did, though nothing says they are dead
    canary     the planted bug that the same claim refuted, "" if none was needed; canary_replayed:
               what the library with that bug did with the counterexample
    cached     whether an earlier run found it out, in `seconds` of its own
    second     what a second solver said, "" if none was asked
    """

    claim: Claim
    verdict: str
    bound: dict[str, int] | None
    assumptions: tuple[str, ...]
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)
    executed: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
    canary: str = ""
    canary_replayed: Replay | None = None
    trace: Trace | None = None
    replayed: Replay | None = None
    cached: bool = False
    second: str = ""


@dataclass(frozen=True)
class Limits:
    """How much is believed and spent.

    since        outcomes from before are not believed (Unix time)
    seconds      of CPU a study, 0 for any number
    cross_check  ask a second solver too, and believe no earlier verdict; raises NoSecondSolver
    """

    since: float = 0.0
    seconds: int = 0
    cross_check: bool = False


def claims_matching(
    subject: Subject, pattern: str, quick: bool = False, kind: str = "raw"
) -> list[Claim]:
    """The claims made of a subject whose name matches the glob; raises NoSubject."""
    studies = studies_of(subject, compiled(subject, kind), quick, kind)
    every = [claim for study in studies for claim in study.claims]
    return [claim for claim in every if fnmatch.fnmatch(claim.name, pattern)]


def unfinished(
    subject: Subject,
    pattern: str,
    done: Sequence[Report],
    quick: bool,
    kind: str,
    why: str = "interrupted",
    only: str = "",
) -> list[Report]:
    """Reports for the claims that a run, which was cut short, did not come to."""
    finished = {report.claim.name for report in done}
    return [
        Report(claim, UNKNOWN, study.bound_of(claim), study.assumptions, reasons=[why])
        for study in studies_of(subject, compiled(subject, kind), quick, kind)
        for claim in study.claims
        if fnmatch.fnmatch(claim.name, pattern) and claim.name not in finished
        if only in ("", study.name)
    ]


def verify(
    subject: Subject,
    pattern: str = "*",
    *,
    quick: bool = False,
    kind: str = "raw",
    fresh: bool = False,
    only: str = "",
    limits: Limits = Limits(),
    progress: Callable[[str], None] = lambda _text: None,
) -> Iterator[Report]:
    """A report for each claim that matches, as studies finish; raises NoSubject.

    "proved" is as far as one study can tell: whether all code was executed is a question to all
    of them, and campaign.py asks it.

    progress is called with a line for people, and with "" often: it may raise to stop.

    kind: the IR as the programmer wrote it ("raw"), or "optimised" as -O2 made it.
    fresh: find everything out anew, canaries too.
    only: the study of that name, "" for all.
    """
    module = compiled(subject, kind)
    if fresh:
        limits = replace(limits, since=time.time())
    for study in studies_of(subject, module, quick, kind):
        claims = tuple(claim for claim in study.claims if fnmatch.fnmatch(claim.name, pattern))
        if not claims or only not in ("", study.name):
            continue
        known = None
        if not limits.cross_check:
            known = _recalled(subject, module, study, claims, limits)
        if known:
            yield from known
            continue
        module = compiled(subject, kind, flags=study.flags)
        progress(f"{study.name}: {study.claims[0].says if len(claims) == 1 else 'exploring'}")
        forget()
        reports = []
        for report in verify_study(subject, module, study, claims, kind, progress, limits):
            reports.append(report)
            yield report
        if not limits.cross_check:
            _keep(subject, module, study, claims, reports, limits)


def is_known(
    subject: Subject, study: Study, claims: Sequence[Claim], kind: str, limits: Limits
) -> bool:
    """Whether an earlier run has found all of it out; raises NoSubject."""
    if limits.cross_check:
        return False
    module = compiled(subject, kind)
    return _recalled(subject, module, study, tuple(claims), limits) is not None


def _key(subject: Subject, module: Module, study: Study, claims, limits: Limits) -> str:
    told = (claims, study.assumptions, study.entered, study.bound, study.bounds, study.effort)
    canaries = verdicts.digest_of(inputs_of(subject))
    return verdicts.key(
        module.digest, subject.name, subject.contract, *told, canaries, limits.seconds
    )


def _recalled(
    subject: Subject, module: Module, study: Study, claims, limits: Limits
) -> list[Report] | None:
    """The reports of an earlier run of the same study for the same claims."""
    digest = _key(subject, module, study, claims, limits)
    known = verdicts.recalled("verdicts", digest, limits.since)
    if known is None or (known["lines"] != module.lines and not _is_all_proved(known)):
        return None
    reports = []
    for claim, kept in zip(claims, known["reports"], strict=True):
        kept["trace"] = from_text(kept["trace"]) if kept["trace"] else None
        for name in ("replayed", "canary_replayed"):
            kept[name] = Replay(**kept[name]) if kept[name] else None
        rest = {name: tuple(kept.pop(name)) for name in ("assumptions", "executed", "uncovered")}
        reports.append(Report(claim, **kept, **rest, cached=True))
    return reports


def _keep(
    subject: Subject, module: Module, study: Study, claims, reports: list[Report], limits: Limits
) -> None:
    kept = []
    for report in reports:
        entry = {**vars(report), "trace": to_text(report.trace) if report.trace else None}
        for name in ("replayed", "canary_replayed"):
            entry[name] = asdict(entry[name]) if entry[name] else None
        kept.append({name: entry[name] for name in entry if name not in ("claim", "cached")})
    digest = _key(subject, module, study, claims, limits)
    verdicts.keep("verdicts", digest, {"reports": kept, "lines": module.lines})


def _is_all_proved(known: dict) -> bool:
    """Nothing in it says where in the source anything stands."""
    return all(one["verdict"] == PROVED for one in known["reports"])


def verify_study(
    subject: Subject, module: Module, study: Study, claims, kind: str, progress, limits=Limits()
) -> Iterator[Report]:
    """A report for each of the study's `claims`."""
    started = time.monotonic()
    poll = within(limits.seconds, progress)
    second = Second() if limits.cross_check else None
    solver = Solver(effort=study.effort, poll=poll, second=second)
    ledger = Ledger(Reasoning(solver), claims, study.families, progress=progress)
    # A second solver wants to be asked everything, so there nothing is taken from earlier shares.
    cut = study.shares > 1 and second is None
    shared = Shared(subject, module, study, limits.since) if cut else None
    explored = _explored(module, study, ledger, shared)
    coverage = _coverage(module, subject, explored.engine)
    seconds = time.monotonic() - started + ledger.ahead
    for claim in claims:
        report = Report(claim, PROVED, study.bound_of(claim), study.assumptions)
        report.seconds = seconds / len(claims)
        if explored.short:
            report.bound = {"ops": explored.short.ops}
            report.assumptions += (explored.short.left,)
        report.second = second.told() if second else ""
        refutation = ledger.refuted.get(claim.name)
        if refutation is not None:
            report.verdict = REFUTED
            report.reasons = [refutation.what, *numbers(refutation)]
            report.trace, report.replayed = shown(
                refutation, claim, study, as_proved(subject, study.flags), subject.name
            )
            if report.replayed.rule == "ok":
                report.reasons.append(unseen(refutation, claim.family))
            report.reasons += _heap_of(refutation)
        else:
            report.reasons = _doubts(ledger, claim, explored, claims)
            report.executed, report.uncovered = coverage
            if not report.reasons:
                progress(f"{claim.name}: looking for the planted bug")
                _send_canary(report, subject, claim, kind, limits, poll)
        if report.verdict == PROVED and report.reasons:
            report.verdict = UNKNOWN
        yield report


@dataclass(frozen=True)
class _Explored:
    """How an exploration went: `trouble` if it did not come through, `short` if half the way."""

    engine: Engine | None = None
    trouble: str = ""
    short: FellShort | None = None


def _heap_of(refutation) -> list[str]:
    """The heap that an induction began with, as a picture."""
    shape = refutation.path.scene.shape
    if isinstance(shape, Sketch):
        return [f"in the window {shape.picture(refutation.model)}"]
    return [f"in the heap {shape.picture()} (bytes of each block; # used, . free)"] if shape else []


def _explored(
    module: Module, study: Study, ledger: Ledger, shared: Shared | None = None
) -> _Explored:
    missing = [name for name in study.entered if name not in module.functions]
    if missing:
        return _Explored(trouble=f"there is no function {missing[0]}")
    try:
        return _Explored(shared.run(ledger) if shared else study.run(module, ledger))
    except FellShort as short:
        return _Explored(short.engine, short=short)
    except UnsupportedIr as error:
        return _Explored(trouble=f"{error}; fuzz/run.py checks it all the same")
    except (Unknown, LoopLimit, WalkError) as error:
        return _Explored(trouble=str(error))
    except FAILURES as error:
        return _Explored(trouble=f"the executor failed: {str(error)[:200]}")


def _doubts(ledger: Ledger, claim: Claim, explored: _Explored, claims) -> list[str]:
    """Why the absence of a counterexample is not a proof."""
    trouble = explored.trouble
    doubts = [trouble] if trouble else []
    if not trouble and not ledger.premises:
        doubts.append("the premise cannot be satisfied")
    if not trouble:
        doubts += [f"never put to the test: {what}" for what in ledger.untested(claim)]
    if doubts and explored.short:
        doubts.append(explored.short.left)
    broken = [other.name for other in claims if other.name in ledger.refuted]
    if broken:
        doubts.append(f"the exploration ended where {broken[0]} was refuted")
    return doubts


def _coverage(module: Module, subject: Subject, engine: Engine | None) -> tuple[tuple, tuple]:
    """What was executed, and what was missed."""
    if engine is None:
        return (), ()
    return told(engine.covered), told(missed(module, subject, engine.covered))


def _send_canary(report, subject: Subject, claim: Claim, kind: str, limits: Limits, poll) -> None:
    canary: Canary = refuted_by(subject, claim, kind, since=limits.since, poll=poll)
    if canary.refuted:
        report.canary, report.canary_replayed = canary.bug, canary.replayed
    else:
        report.reasons.append(f"not refuted on the planted bug {canary.bug}: {canary.note}")


__all__ = [
    "Limits",
    "NoSubject",
    "Report",
    "claims_matching",
    "is_known",
    "unfinished",
    "verify",
    "verify_study",
]
