"""The last phase of a campaign: the coverage-guided search, and the survey of what it kept.

A part of campaign.py's Campaign; the processes are guided.py's, the files are corpus.py's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from allocator.subject import Subject
from fuzz import guided
from fuzz.asking import Questions
from fuzz.bench import Bench
from fuzz.budget import Budget
from fuzz.corpus import Corpus
from fuzz.guided import POLL_SECONDS, Death, Guided, Kept
from fuzz.job import Job, Survey, Suspect
from fuzz.limits import Limits
from fuzz.native import decode, decoder_library, mutator_library
from fuzz.options import (
    ASKED_OF,
    ASKING,
    CYCLES_SHARE,
    DENSE_SHARE,
    KNOWN_LIMIT,
    SEARCH_SHARE,
    Options,
)
from fuzz.results import Result
from models.observation import Outcome, Run
from models.trace import Trace, from_text

BRIEF_SECONDS = LEAST_SECONDS = 1.0
Find = Callable[..., Subject]


def job_of(subject: Subject, limits: Limits, folder: Path, options: Options, find: Find) -> Job:
    """The search that the options mean, in a subject's folder; the libraries are built."""
    if options.edges and not subject.prebuilt:
        subject = find(subject.name, coverage=True, **options.finding)
    rest = 1 - CYCLES_SHARE - (DENSE_SHARE if options.dense else 0)
    # The survey of several parts is one, and whoever collects them does it.
    share = rest if options.part else rest * SEARCH_SHARE
    budget = Budget(options.seconds, options.runs, share)
    return Job(
        subject,
        limits.pack(),
        decoder_library(),
        mutator_library(),
        folder / "programs",
        folder / f"journal{options.part}",
        runs=budget.runs,
        seconds=budget.seconds,
        seed=options.seed,
        states=options.states,
        rules=options.rules,
        known_limit=KNOWN_LIMIT if options.runs else 0,
    )


def open_corpus(job: Job, folder: Path, seed: int) -> Corpus:
    """The corpus in a subject's folder, its programs laid out for the search.

    Programs that a run left behind when it was killed are there already, and take part.
    """
    corpus = Corpus(folder / "corpus", job.limits)
    corpus.unpack(job.corpus)
    guided.seed_corpus(job.corpus, seed)
    return corpus


class GuidedPhase:
    """The guided search and the survey, for a class that has the word on traces."""

    options: Options
    spec: str
    tell: Callable[[str], None]
    find: Find
    result: Result
    _bench: Bench
    _limits: Limits
    _enough: bool
    _folder: Callable[[], Path]
    _consider: Callable[[Trace, Run], None]
    _sample: Callable[[Trace], None]
    _questions: Questions
    _waiting: list[bytes]
    _until: float

    def _can_guide(self, subject: Subject) -> bool:
        options, notes = self.options, self.result.notes
        if not options.guided:
            return False
        if not guided.available():
            notes.append("atheris is not installed: no coverage guidance, random programs alone")
            return False
        if subject.forks:
            notes.append("a process for each trace: no guidance, random programs alone")
            return False
        blind = subject.prebuilt is not None or not options.edges
        if blind and not options.states:
            notes.append("neither edges nor heap states: no guidance, random programs alone")
            return False
        if subject.prebuilt:
            notes.append("prebuilt: searched without C edges, on heap states alone")
        return True

    def _guided(self, subject: Subject) -> None:
        began = time.monotonic()
        job = job_of(subject, self._limits, self._folder(), self.options, self.find)
        self._until += time.monotonic() - began  # it was built in between
        if self.options.part:
            self._search_guided(self._in_time(job, 1))
            return
        corpus, kept = open_corpus(job, self._folder(), self.options.seed), None
        try:
            job = self._in_time(job, SEARCH_SHARE)
            self._search_guided(job)
            kept = self._survey(job)
        finally:
            corpus.settle(job.corpus, kept)
            self.result.notes += corpus.notes

    def _in_time(self, job: Job, share: float) -> Job:
        """The search in its share of the seconds that are left, where seconds count."""
        seconds = max(LEAST_SECONDS, share * (self._until - time.monotonic()))
        return replace(job, seconds=seconds) if self.options.seconds else job

    def _search_guided(self, job: Job) -> None:
        log = self._folder() / f"search{self.options.part}.log"
        tell, keeps = self._progress(lambda: search), self._bench.predict is not None
        search = Guided(job, log, tell, keeps=keeps)
        before = (self.result.executions, self.result.ops)
        try:
            with closing(search.run()) as messages:  # the worker ends with it, come what may
                for message in messages:
                    self._count_guided(before, search)
                    if isinstance(message, Suspect):
                        self._reconsider(message)
                    elif isinstance(message, Death):
                        self._after_death(message)
                    else:
                        self._ask_kept(message)
                    if self._enough:
                        break
            if self.options.runs:
                self._ask_in_the_end(search)
        finally:
            self._count_guided(before, search)
            job.journal.unlink(missing_ok=True)

    def _ask_kept(self, kept: Kept) -> None:
        """The exact model is asked about what the corpus gained, and where that leaves time about
        random programs; where runs are counted that waits, since the clock has no say then."""
        self._waiting += kept.programs
        if self.options.runs:
            return
        until = time.monotonic() + ASKING * POLL_SECONDS
        while self._bench.predict and not self._enough and time.monotonic() < until:
            if self._waiting:
                trace = decode(self._waiting.pop(), self._limits.pack())
            else:
                trace = self._questions.next()
            if trace is None:
                return
            self._sample(trace)

    def _ask_in_the_end(self, search: Guided) -> None:
        """About one program in ASKED_OF of the search's, in an order of their own."""
        for program in sorted(self._waiting)[: search.executions // ASKED_OF]:
            if self._enough or not self._bench.predict:
                return
            self._sample(decode(program, self._limits.pack()))

    def _survey(self, job: Job) -> frozenset[str] | None:
        """The programs worth keeping, None where the survey did not come to its end."""
        kept = None
        job = replace(job, seconds=BRIEF_SECONDS) if self.options.brief else job
        with closing(guided.survey(job, self._folder() / "survey.log")) as messages:
            for message in messages:
                if isinstance(message, Survey):
                    self.result.edges, self.result.states = message.edges, message.states
                    kept = frozenset(message.kept)
                else:
                    self._reconsider(message)
        return kept

    def _count_guided(self, before: tuple[int, int], search: Guided) -> None:
        self.result.executions = before[0] + search.executions
        self.result.ops = before[1] + search.operations

    def _progress(self, search: Callable[[], Guided]) -> Callable[[], None]:
        return lambda: self.tell(f"coverage-guided search: {search().executions:,} executions")

    def _reconsider(self, suspect: Suspect) -> None:
        """The same trace on the bench; only what the exact model objects to is put to it again."""
        trace = from_text(suspect.trace)
        if suspect.rule == "model":
            self._sample(trace)
        else:
            self._consider(trace, self._bench.execute(trace))

    def _after_death(self, death: Death) -> None:
        """The program that the worker died of is run where dying does no harm."""
        trace = decode(death.program, self._limits.pack())
        run = self._bench.execute(trace)
        if run.outcome is Outcome.FINISHED and self._bench.glance(trace, run).ok:
            self.result.notes.append(
                f"the search ended with {death} on a program that breaks nothing by itself"
            )
        self._consider(trace, run)
