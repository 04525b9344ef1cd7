"""One subject's campaign: saved traces, random dense programs, cycles, coverage-guided search.

Each phase brings traces; the bench has the word on them, findings.py writes what it condemns.
"""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from allocator import skeleton
from allocator.catalogue import resolve
from allocator.subject import Subject, SubjectError
from fuzz import findings
from fuzz.asking import Questions
from fuzz.bench import Bench, rules_on
from fuzz.budget import Budget
from fuzz.dedicated import dedicated, worth_judging
from fuzz.guided_phase import GuidedPhase
from fuzz.job import SEARCH_CPU_MS
from fuzz.limits import (
    OPERATION_BYTES,
    PROFILE_BYTES,
    Limits,
    limits_of,
    probe_edges,
    program_bytes,
)
from fuzz.options import (
    ASKED_OF,
    ASKING,
    CYCLES_SHARE,
    DENSE_SHARE,
    KNOWN_LIMIT,
    RACE_SHARE,
    SANITIZED_SHARE,
    SAVED_SHARE,
    Options,
)
from fuzz.race_phase import RacePhase, shared_out
from fuzz.results import Report, Result
from models.check import Finding
from models.observation import Run
from models.policy import Policy
from models.trace import Trace, TraceError, from_text

# Operations a program.  What is deep needs a heap with a past: most of the work is long ones.
LENGTHS = (1024, 1024, 256, 1024, 64)
# What takes turns: dense programs, any (half of which are dense by their profile), rare ways; the
# large blocks of these cost time, ten times that of a dense program as long.
KINDS = (Limits.dense, Limits.any, Limits.dense, Limits.rare)
RARE_LENGTH = 256
FIRST_CHUNK, CHUNK, CHUNK_TURNS = 2, 1000, 6  # of random programs; doubled every so many turns
CHUNK_SECONDS = 0.2
HANG_BUDGET = 60  # executions to shrink a hang, each of which takes its whole time limit
SLOW_LIMIT = 5  # programs that are slow and do not hang, before slowness is left alone
JUDGING_SHARE = 0.3
SAMPLED = 128  # operations at most of a program that is judged without being suspicious
CYCLE_OPERATIONS = 24
CONFIRMING = "confirming and shrinking"  # what a campaign tells of a rule that is broken


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until a finding is both written and noted."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@dataclass
class Campaign(GuidedPhase, RacePhase):
    """A campaign on one subject; `result` holds what is known at any time."""

    spec: str
    options: Options
    tell: Callable[[str], None] = lambda _text: None
    find: Callable[..., Subject] = resolve  # from the spec to the subject, as resolve() does it
    note: Callable[[Report], None] = lambda _report: None  # of a finding, once it is written
    result: Result = field(init=False)

    def __post_init__(self) -> None:
        self.result = Result(self.spec)
        self._policy = Policy()
        self._found = set(self.options.found)
        self._known = self._slow = 0
        self._waiting: list[bytes] = []
        self._until = 0.0

    def run(self) -> Result:
        """Runs all phases; what goes wrong is the result's error, but for KeyboardInterrupt."""
        started = time.monotonic()
        try:
            self._run()
        except SubjectError as error:
            self.result.error = skeleton.offer(error, self.spec, self.options.out)
        except OSError as error:  # a full disk, a folder that cannot be written
            self.result.error = self._told(error)
        except Exception as error:  # an error of ours must not cost the other subjects
            self._note_internal(error)
        finally:
            self.result.seconds = time.monotonic() - started
            self.result.policy = self._policy.as_dict()
        return self.result

    def _note_internal(self, error: Exception) -> None:
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.log").write_text(traceback.format_exc())
        kind = type(error).__name__
        self.result.error = f"internal error: {kind}: {error} (see {folder / 'error.log'})"

    def _folder(self) -> Path:
        return findings.subject_folder(self.options.out, self.spec)

    def _run(self) -> None:
        self.tell("compiling")
        subject = self.find(self.spec, **self.options.finding)
        self.result.rules_on = rules_on(
            subject, self.options.rules, sanitized=self.options.tsan is not None
        )
        self.result.notes += subject.notes
        with Bench(subject, self.options.rules, self._noisy(subject)) as self._bench:
            self._limits = limits_of(subject, probe_edges(self._bench.execute, subject))
            self._questions = Questions(self._bench.executor, self._limits, self.options.seed)
            self._until = time.monotonic() + self.options.seconds  # what was built is not counted
            self._replay_saved()
            self.options = self._less_the_saved()
            if subject.contract.threads and self.options.threads > 1:
                self._races(subject, RACE_SHARE)
                if self.options.tsan is not None:
                    self._sanitized(subject, SANITIZED_SHARE)
                self.options = self._rest()
            searched = self._can_guide(subject)
            if self.options.dense:
                self._dense(1 - CYCLES_SHARE if not searched else DENSE_SHARE)
            if self.options.cycles:
                self._cycles()
            if searched and not self._enough:
                self._guided(subject)

    def _less_the_saved(self) -> Options:
        """The options with the seconds that replaying has left."""
        left = max(0.0, self._until - time.monotonic())
        return replace(self.options, seconds=left) if self.options.seconds else self.options

    def _noisy(self, subject: Subject) -> Subject:
        """The subject as free-running threads take it."""
        if not subject.contract.threads or subject.prebuilt or self.options.threads < 2:
            return subject
        return self.find(self.spec, noise=True, **self.options.finding)

    def _rest(self) -> Options:
        """The options with what free-running threads leave of the budget."""
        options, left = self.options, 1 - RACE_SHARE
        left -= SANITIZED_SHARE if options.tsan is not None else 0
        runs = max(1, round(left * options.runs)) if options.runs else 0
        return replace(options, seconds=left * options.seconds, runs=runs)

    @property
    def _enough(self) -> bool:
        known = self.options.runs and self._known > KNOWN_LIMIT
        every = self._found.issuperset(self.result.rules_on)
        return bool(known) or every or len(self.result.reports) >= self.options.findings

    # ---- the word on a trace ----

    def _consider(self, trace: Trace, run: Run) -> None:
        """A suspect: judged at a glance, and checked in full if its rule is new."""
        verdict = self._bench.glance(trace, run)
        if verdict.rule in self._found:
            self._known += 1
        elif not verdict.ok:
            self._check(trace, verdict.rule)

    def _sample(self, trace: Trace) -> None:
        """A trace that nothing speaks against: executed and judged with everything there is."""
        self._judge(trace, self._execute(trace))

    def _execute(self, trace: Trace) -> Run:
        self.result.executions += 1
        self.result.ops += len(trace)
        return self._bench.execute(trace)

    def _judge(self, trace: Trace, run: Run) -> None:
        self._policy.see(trace, run)
        self.result.sample = trace, run, self._bench.subject.contract
        verdict = self._bench.judge(trace, run)
        if not verdict.ok and verdict.rule not in self._found:
            self._check(trace, verdict.rule)

    def _check(self, trace: Trace, rule: str) -> None:
        self.tell(f"{rule}: {CONFIRMING} a trace of {len(trace)} operations")
        finding = self._bench.check(trace, HANG_BUDGET if rule == "hang" else None)
        if finding is None:
            self._note_vanished(rule)
            return
        self.result.executions += finding.executions
        if finding.rule not in self._found:
            with _uninterrupted():
                self._keep(finding)
        self._found |= {rule, finding.rule}

    def _keep(self, finding: Finding) -> None:
        """Writes the finding's files; where that fails it is reported all the same."""
        subject, options = self._bench.subject, self.options
        report = Report(finding, subject.contract)
        try:
            report = findings.write(finding, subject, options.out, options.prefix)
            self.note(report)
        except OSError as error:
            self.result.notes.append(
                f"{finding.rule}: its files are not whole: {self._told(error)}"
            )
        self.result.reports.append(report)

    def _told(self, error: OSError) -> str:
        return f"{error.filename or self.options.out}: {error.strerror or error}"

    def _note_vanished(self, rule: str) -> None:
        """A suspect that was clean when it was run again: a slow one, or a strange one."""
        self._slow += rule == "hang"
        if rule != "hang":
            self.result.vanished.append(rule)
        if rule != "hang" or self._slow == SLOW_LIMIT:
            self._found.add(rule)

    # ---- phases ----

    def _replay_saved(self) -> None:
        """The saved traces; where seconds count in SAVED_SHARE of them, the subject's own first."""
        budget = Budget(self.options.seconds, 0, SAVED_SHARE)
        every = sorted(self.options.saved.rglob("*.trace"))
        if self.options.seconds:
            own = self.spec.partition("+")[0]
            every.sort(key=lambda path: path.parent.name != own)
        for number, path in enumerate(every):
            if self._enough:
                return
            if not budget.cut(1):
                self.result.notes.append(f"time for {number} of {len(every)} saved traces")
                return
            self.tell(f"replaying {path.name}")
            try:
                self._sample(Trace(from_text(path.read_text()).ops))
            except (OSError, UnicodeDecodeError, TraceError) as error:
                self.result.notes.append(f"{path.name}: not replayed: {error}")

    def _dense(self, share: float) -> None:
        """Random programs, most of them dense, in chunks that one call runs."""
        budget = Budget(self.options.seconds, self.options.runs, share)
        judging, most = 0.0, CHUNK
        for turn in count():
            now = budget.cut(min(most, FIRST_CHUNK << min(turn // CHUNK_TURNS, 8)))
            if not now or self._enough:
                return
            started = time.monotonic()
            self._search(turn, now)
            budget.spend(now)
            searched = time.monotonic()
            if not budget.seconds or judging < JUDGING_SHARE * budget.elapsed:
                trace = self._bench.executor.last_trace()
                self._sample(replace(trace, ops=trace.ops[:SAMPLED]))
                seconds = 0 if self.options.runs else ASKING * (searched - started)
                self._ask(seconds, max(self.options.runs and now // ASKED_OF, 1))
            judging += time.monotonic() - searched
            if not self.options.runs:  # chunks of some CHUNK_SECONDS
                faster = searched - started < CHUNK_SECONDS
                most = min(2 * most, CHUNK) if faster else max(1, now // 4)
            self.tell(f"dense programs: {self.result.executions:,} executions")

    def _ask(self, seconds: float, least: int) -> None:
        """Random programs for the exact model, for so many seconds, but `least` in any case."""
        until = time.monotonic() + seconds
        while self._bench.predict and not self._enough:
            if least <= 0 and time.monotonic() >= until:
                return
            self._sample(self._questions.next())
            least -= 1

    def _search(self, turn: int, chunk: int) -> None:
        """Runs the chunk number `turn` of random programs, and considers what is suspicious."""
        executor, kind = self._bench.executor, KINDS[turn % len(KINDS)]
        operations = LENGTHS[turn % len(LENGTHS)]
        if kind is Limits.rare:
            operations = min(operations, RARE_LENGTH)
        limits, length = kind(self._limits), program_bytes(operations)
        seed = self.options.seed * 1_000_000_007 + turn * 2 * CHUNK
        done = 0
        while done < chunk and not self._enough:
            ran = executor.search(
                seed + done, chunk - done, length, limits.pack(), cpu_limit_ms=SEARCH_CPU_MS
            )
            run = executor.last_run()
            self._count(max(ran, 1), length)
            if run.suspicious:
                self._consider(executor.last_trace(), run)
            # A child that died says not how far it came: the rest of the chunk is left.
            done = done + ran if ran else chunk

    def _count(self, executions: int, length: int) -> None:
        self.result.executions += executions
        self.result.ops += executions * ((length - PROFILE_BYTES) // OPERATION_BYTES)

    def _cycle(self, turn: int) -> Trace:
        """The last program; where threads are promised, by several that end in each cycle."""
        trace, subject = self._bench.executor.last_trace(), self._bench.subject
        if not subject.contract.threads or self.options.threads < 2:
            return trace
        source = random.Random(self.options.seed + turn)
        return replace(shared_out(trace, source, self.options.threads, subject), free_running=False)

    def _cycles(self) -> None:
        """The rules that need many operations, on traces made for them."""
        budget = Budget(self.options.seconds, self.options.runs, CYCLES_SHARE)
        rounds = max(1, self.options.runs // 500) if self.options.runs else 10_000
        length = program_bytes(CYCLE_OPERATIONS)
        for turn in range(rounds):
            seed = self.options.seed * 1_000_000_007 - 1 - turn
            limits = self._limits if turn % 2 else self._limits.dense()
            self._bench.executor.search(seed, 1, length, limits.pack())
            self.tell(f"cycles and refusals: {self.result.executions:,} executions")
            for trace in dedicated(self._cycle(turn), self._bench.subject):
                if self._enough:
                    return
                run = self._execute(trace)
                if worth_judging(trace, run):
                    self._judge(trace, run)
                if budget.seconds and not budget.cut(1):
                    return
