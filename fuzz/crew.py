"""A campaign shared out in stints among several workers, here or on a cluster.

It searches nothing itself: it collects what the stints bring, confirms it, and keeps the corpus.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from allocator.subject import Subject
from fuzz import findings
from fuzz.bench import Bench, rules_on
from fuzz.campaign import Campaign
from fuzz.corpus import Corpus
from fuzz.guided_phase import job_of, open_corpus
from fuzz.hands import Hands, HandsLost
from fuzz.ledger import END, FINDING, STINT, Ledger
from fuzz.limits import limits_of, probe_edges
from fuzz.options import Options
from fuzz.results import Report, Result
from fuzz.stint import Outcome, Stint, StintDied
from models.trace import from_text

STINT_SECONDS, STINT_RUNS = 20.0, 40_000  # the most that is lost with a worker elsewhere
DEATHS = 5  # without an outcome between them, before a subject is given up
POLL_SECONDS = 0.5
NOTHING_SAVED = Path("nothing-saved")


def shares(options: Options, count: int, first: int = 0) -> dict[int, Options]:
    """The budget cut into stints for `count` workers, the same for each, by number from `first`."""
    if options.runs:
        rounds = math.ceil(options.runs / (STINT_RUNS * count))
        cut = {"runs": math.ceil(options.runs / (rounds * count))}
    else:
        rounds = math.ceil(options.seconds / STINT_SECONDS)
        cut = {"seconds": options.seconds / rounds}
    numbers = range(first, first + rounds * count)
    return {number: replace(options, **cut, seed=_seed(options, number)) for number in numbers}


def rest(options: Options, stints: list[dict[str, Any]], count: int) -> Options | None:
    """What is left of the budget after these stints, None for nothing."""
    if options.runs:
        left = options.runs - sum(event["runs"] for event in stints)
        return replace(options, runs=left) if left > 0 else None
    spent = sum(event["seconds"] for event in stints) / count
    return replace(options, seconds=options.seconds - spent) if spent < options.seconds else None


def outcome_of(result: Result) -> Outcome:
    """What a campaign came to, for the ledger."""
    names = ("executions", "ops", "raced", "edges", "states", "policy", "notes", "vanished")
    return Outcome(-1, **{name: getattr(result, name) for name in names})


def _seed(options: Options, number: int, attempt: int = 0) -> int:
    return options.seed + 1_000_003 * number + 15_485_863 * attempt


@dataclass
class Crew(Campaign):
    """A campaign on one subject by as many workers as `hands` has.

    Stints that the ledger knows already are not done again.
    """

    hands: Hands = field(kw_only=True)
    ledger: Ledger = field(kw_only=True)
    _seen: set[str] = field(default_factory=set, init=False)
    _policy_told: dict[str, Any] = field(default_factory=dict, init=False)

    def run(self) -> Result:
        """As a campaign is; the policy is what a stint saw."""
        super().run()
        self.result.policy = self._policy_told or self.result.policy
        return self.result

    def _run(self) -> None:
        subject = self.find(self.spec, **self.options.finding)
        self.result.rules_on = rules_on(
            subject, self.options.rules, sanitized=self.options.tsan is not None
        )
        self.result.notes += subject.notes
        with Bench(subject, self.options.rules, self._noisy(subject)) as self._bench:
            if self._noted(END):
                self._count_in(Outcome(**self._noted(END)[-1]["outcome"]))
                self._recall()
                return
            self._limits = limits_of(subject, probe_edges(self._bench.execute, subject))
            if self._can_guide(subject):
                self._with_corpus(subject)
            else:
                self._share_out(Corpus(self._folder() / "corpus", self._limits.pack()))

    def _with_corpus(self, subject: Subject) -> None:
        folder, kept = self._folder(), None
        job = job_of(subject, self._limits, folder, self.options, self.find)
        corpus = open_corpus(job, folder, self.options.seed)
        try:
            self._share_out(corpus)
            if not self.hands.shared:
                corpus.unpack(job.corpus)
            kept = self._survey(job)
        finally:
            corpus.settle(job.corpus, kept)
            self.result.notes += corpus.notes

    # ---- sharing out ----

    def _share_out(self, corpus: Corpus) -> None:
        count, done = max(1, self.hands.count), self._noted(STINT)
        for event in done:
            self._count_in(Outcome(**event["outcome"]))
        self._recall()
        left = rest(self.options, done, count)
        first = 1 + max((event["outcome"]["number"] for event in done), default=-1)
        parts = shares(left, count, first) if left else {}
        self._waiting = deque((number, 0) for number in parts)
        self._running: dict[Future[Outcome], tuple[int, int]] = {}
        self._deaths, self._stopped = 0, threading.Event()
        try:
            self._keep_busy(parts, corpus)
        except BaseException:
            self._stop(corpus, parts)
            raise
        if self._running:
            self._stop(corpus, parts)

    def _noted(self, event: str) -> list[dict]:
        return self.ledger.of(event, self.spec)

    def _keep_busy(self, parts: dict[int, Options], corpus: Corpus) -> None:
        while (self._waiting or self._running) and not self._enough:
            while self._waiting and len(self._running) < self.hands.count:
                number, attempt = self._waiting.popleft()
                stint = self._stint(number, attempt, parts[number], corpus)
                self._running[self.hands.submit(stint, self._stopped)] = (number, attempt)
            ended, _ = wait(self._running, POLL_SECONDS, FIRST_COMPLETED)
            for future in ended:
                self._end(future, corpus, parts)
            left = len(self._waiting) + len(self._running)
            counted = f"{self.result.executions:,} executions"
            self.tell(f"{self.hands.count} workers, {left} stints to go: {counted}")

    def _stint(self, number: int, attempt: int, part: Options, corpus: Corpus) -> Stint:
        shared = self.hands.shared
        options = replace(
            part,
            seed=_seed(self.options, number, attempt),
            found=frozenset(self._found),
            findings=max(1, self.options.findings - len(self.result.reports)),
            saved=part.saved if number == 0 else NOTHING_SAVED,
            part=f"-{number}.{attempt}" if shared else "",
        )
        spec = str(Path(self.spec).resolve()) if Path(self.spec).is_file() else self.spec
        texts = None if shared else tuple(corpus.texts().values())
        return Stint(self.spec if shared else spec, number, options, texts)

    def _end(self, future: Future[Outcome], corpus: Corpus, parts: dict[int, Options]) -> None:
        """Takes what a stint brings; one that died is done again, on another seed."""
        number, attempt = self._running.pop(future)
        try:
            outcome = future.result()
        except StintDied as death:
            self._deaths += 1
            if self._deaths == DEATHS:
                raise HandsLost(f"{DEATHS} stints died one after another: {death}") from None
            self.result.notes.append(f"stint {number} died and was done again: {death}")
            self._waiting.append((number, attempt + 1))
        else:
            self._deaths = 0
            corpus.take(outcome.corpus)
            self._count_in(outcome)
            for text in () if self.hands.shared else outcome.findings:
                self.ledger.add(FINDING, subject=self.spec, trace=text)
            outcome.corpus = []
            part = parts[number]
            spent = {"runs": part.runs, "seconds": part.seconds}
            if not self._stopped.is_set():  # one that was cut short is done again
                self.ledger.add(STINT, subject=self.spec, outcome=asdict(outcome), **spent)
        self._recall()

    def _stop(self, corpus: Corpus, parts: dict[int, Options]) -> None:
        """Ends what still runs, and takes what it brings."""
        self._stopped.set()
        self._waiting.clear()
        ended, _ = wait(self._running, None if self.hands.shared else POLL_SECONDS)
        for future in ended:
            with suppress(HandsLost, CancelledError):
                self._end(future, corpus, parts)
        for future in self._running:
            future.cancel()
        self._running.clear()

    # ---- what stints bring ----

    def _count_in(self, outcome: Outcome) -> None:
        result = self.result
        result.executions += outcome.executions
        result.ops += outcome.ops
        result.raced += outcome.raced
        self._policy_told = outcome.policy or self._policy_told
        result.notes += [note for note in outcome.notes if note not in result.notes]
        result.vanished += [rule for rule in outcome.vanished if rule not in result.vanished]
        result.edges = result.edges or outcome.edges
        result.states = max(result.states, outcome.states)
        result.error = result.error or outcome.error

    def _recall(self) -> None:
        """Findings in the ledger, confirmed here: one for each rule, the shortest."""
        for event in self._noted(FINDING):
            text = event["trace"]
            if text in self._seen:
                continue
            self._seen.add(text)
            trace = from_text(text)
            best = self._by_rule().get(trace.expect or "")
            if best and len(best.finding.trace) <= len(trace):
                continue
            report = findings.recall(trace, self._bench, self.options.out, self.options.prefix)
            if report is None:
                self._note_vanished(trace.expect or "a rule")
                continue
            rule = report.finding.rule
            self.result.reports = list((self._by_rule() | {rule: report}).values())
            self._found.add(rule)

    def _by_rule(self) -> dict[str, Report]:
        return {report.finding.rule: report for report in self.result.reports}
