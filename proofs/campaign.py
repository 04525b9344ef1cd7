"""All claims of some subjects: jobs for each study, side by side, with word of how far it is.

It decides nothing: verify.py does; what an earlier run took tells only the order, and what is left.
"""

from __future__ import annotations

import fnmatch
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from allocator import artifacts
from allocator.subject import Subject
from proofs.claims import NARROW, PROVED, Claim
from proofs.coverage import Looked, beyond, places_of
from proofs.pieces import Piece, pieces_of, prepare
from proofs.side_by_side import Ended, side_by_side
from proofs.study import Study
from proofs.subjects import CACHE, compiled, studies_of
from proofs.verify import Limits, Report, claims_matching, is_known, unfinished, verify

PATIENCE = 2.0  # seconds between two lines
GRACE = 6  # seconds of CPU beyond a study's own limit, for what does not look at the clock
_TIMES = CACHE / "seconds.json"


@dataclass(frozen=True)
class Job:
    """One study of one subject, or a piece of it that is found out ahead."""

    name: str
    study: str
    piece: Piece | None = None


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
        whole = sorted(self._jobs(), key=self._takes, reverse=True)
        pieces = [piece for job in whole for piece in self._pieces(job)]
        last = list(dict.fromkeys(Job(piece.name, piece.study) for piece in pieces))
        first = [*pieces, *(job for job in whole if job not in last)]
        self._left, self._all = [*first, *last], len(first) + len(last)
        began: dict[Job, float] = {}
        seconds = self.limits.seconds
        cap = seconds + GRACE if seconds else 0
        running = (side_by_side(jobs, self._work, self.workers, cap) for jobs in (first, last))
        for job, message in chain.from_iterable(running):
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
        """One for each study of which claims are wanted."""
        self._studies: dict[Job, tuple[Study, tuple[Claim, ...]]] = {}
        for name, subject in self.chosen.items():
            module = compiled(subject, self.kind)
            for study in studies_of(subject, module, self.quick, self.kind):
                claims = tuple(
                    claim for claim in study.claims if fnmatch.fnmatch(claim.name, self.claim)
                )
                if claims:
                    self._studies[Job(name, study.name)] = (study, claims)
        return list(self._studies)

    def _pieces(self, job: Job) -> list[Job]:
        """What of a study is found out ahead; nothing of one that is known."""
        study, claims = self._studies[job]
        pieces = pieces_of(study, claims)
        if not pieces or self.limits.seconds or self.limits.cross_check:
            return []
        if is_known(self.chosen[job.name], study, claims, self.kind, self.limits):
            return []
        return [Job(job.name, job.study, piece) for piece in pieces]

    def _work(self, job: Job, send: Callable[[object], None]) -> None:
        told, parent = 0.0, os.getppid()

        def progress(text: str) -> None:
            nonlocal told
            if os.getppid() != parent:
                sys.exit("whoever asked is gone")
            if text and time.monotonic() - told >= PATIENCE:
                told = time.monotonic()
                send(text)

        if job.piece is not None:
            study, claims = self._studies[Job(job.name, job.study)]
            prepare(
                self.chosen[job.name], study, claims, job.piece,
                kind=self.kind, since=self.limits.since, progress=progress,
            )  # fmt: skip
            return
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
        if job.piece is not None:
            self._times[self._key(job)] = seconds
            return
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
        whole = f"{job.name} {job.study} {self.kind} {self.quick}"
        return whole if job.piece is None else f"{whole} {job.piece}"

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
        line = f"{now - self._started:5.0f} s  {closed} of {self._all} steps"
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
