"""All claims of some subjects: a job for each study, side by side, with word of how far it is.

It decides nothing: verify.py does; what an earlier run took tells only the order, and what is left.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from allocator import artifacts
from allocator.subject import Subject
from proofs.claims import NARROW, PROVED
from proofs.coverage import Looked, beyond, places_of
from proofs.side_by_side import Ended, side_by_side
from proofs.subjects import CACHE, compiled, studies_of
from proofs.verify import Limits, Report, claims_matching, unfinished, verify

PATIENCE = 2.0  # seconds between two lines
GRACE = 6  # seconds of CPU beyond a study's own limit, for what does not look at the clock
_TIMES = CACHE / "seconds.json"


@dataclass(frozen=True)
class Job:
    """One study of one subject."""

    name: str
    study: str


@dataclass
class Campaign:
    """What is to be proved, and what has been found out: a list of reports for each subject.

    tell   called with a line for people now and then
    """

    chosen: dict[str, Subject]
    claim: str = "*"
    quick: bool = False
    kind: str = "raw"
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    tell: Callable[[str], None] = lambda _line: None
    done: dict[str, list[Report]] = field(default_factory=dict)

    def run(self) -> None:
        """Fills `done`; KeyboardInterrupt leaves what there is."""
        self.done = {name: [] for name in self.chosen}
        self._times = _known_times()
        self._started = self._told = time.monotonic()
        jobs = sorted(self._jobs(), key=self._takes, reverse=True)
        self._left, self._all = list(jobs), len(jobs)
        began: dict[Job, float] = {}
        seconds = self.limits.seconds
        cap = seconds + GRACE if seconds else 0
        for job, message in side_by_side(jobs, self._work, self.workers, cap):
            began.setdefault(job, time.monotonic())
            if isinstance(message, Report):
                self.done[job.name].append(message)
            elif isinstance(message, Ended):
                self._close(job, message, time.monotonic() - began[job])
            else:
                self._say(f"{job.name}: {message}")

    def finished(self) -> dict[str, list[Report]]:
        """The reports in the order of the claims; one that was not come to is unknown."""
        for name, subject in self.chosen.items():
            known = self.done[name]
            known += unfinished(subject, self.claim, known, self.quick, self.kind)
            claims = claims_matching(subject, self.claim, self.quick, self.kind)
            order = {claim.name: rank for rank, claim in enumerate(claims)}
            known.sort(key=lambda report: order[report.claim.name])
        self._narrow()
        return self.done

    def _narrow(self) -> None:
        """Calls narrow what was proved of less than all the code that it entered."""
        held = [
            (report, _looked(name, report))
            for name, reports in self.done.items()
            for report in reports
            if report.verdict == PROVED
        ]
        for report, looked in held:
            report.uncovered = beyond(looked, [each for _, each in held])
            if report.uncovered:
                report.verdict = NARROW
                places = places_of(compiled(self.chosen[looked.owner], self.kind))
                report.uncovered = tuple(places.get(one, one) for one in report.uncovered)

    def _jobs(self) -> list[Job]:
        return [
            Job(name, study.name)
            for name, subject in self.chosen.items()
            for study in studies_of(subject, compiled(subject, self.kind), self.quick, self.kind)
        ]

    def _work(self, job: Job, send: Callable[[object], None]) -> None:
        told, parent = 0.0, os.getppid()

        def progress(text: str) -> None:
            nonlocal told
            if os.getppid() != parent:
                sys.exit("whoever asked is gone")
            if text and time.monotonic() - told >= PATIENCE:
                told = time.monotonic()
                send(text)

        found = verify(
            self.chosen[job.name],
            self.claim,
            quick=self.quick,
            kind=self.kind,
            only=job.study,
            limits=self.limits,
            progress=progress,
        )
        for report in found:
            send(report)

    def _close(self, job: Job, end: Ended, seconds: float) -> None:
        self._left.remove(job)
        known = self.done[job.name]
        if end.why:
            subject, told = self.chosen[job.name], (self.claim, known, self.quick, self.kind)
            known += unfinished(subject, *told, end.why, job.study)
        own = [each for each in known if each.claim.name.startswith(f"{job.study}.")]
        if not any(each.cached for each in own):
            self._times[self._key(job)] = seconds
            artifacts.put(_TIMES, json.dumps(self._times).encode())
        proved = sum(each.verdict == PROVED for each in own)
        self._say(f"{job.name}: {job.study}: {proved} of {len(own)} proved")

    def _key(self, job: Job) -> str:
        return f"{job.name} {job.study} {self.kind} {self.quick}"

    def _takes(self, job: Job) -> float:
        """Seconds that the job took the last time; of one never seen, a guess."""
        known = self._times.values()
        return self._times.get(self._key(job), sum(known) / len(known) if known else 1.0)

    def _say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told < PATIENCE:
            return
        self._told = now
        closed = self._all - len(self._left)
        line = f"{now - self._started:5.0f} s  {closed} of {self._all} studies"
        if self._times:
            left = sum(map(self._takes, self._left)) / self.workers
            line += f", some {left:.0f} s left if all is to be found out"
        self.tell(f"{line}  {text}")


def _looked(name: str, report: Report) -> Looked:
    study, _, family = report.claim.name.partition(".")
    return Looked(name, study, family, frozenset(report.executed), report.uncovered)


def _known_times() -> dict[str, float]:
    try:
        return json.loads(_TIMES.read_text())
    except (OSError, ValueError):
        return {}
