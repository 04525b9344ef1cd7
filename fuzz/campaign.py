"""One subject's campaign: saved traces, random dense programs, cycles, coverage-guided search.

Each phase brings traces; the bench has the word on them, findings.py writes what it condemns.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from allocator.catalogue import resolve
from allocator.subject import Subject, SubjectError
from fuzz import findings, guided
from fuzz.asking import Questions
from fuzz.bench import Bench, rules_on
from fuzz.budget import Budget
from fuzz.dedicated import dedicated, worth_judging
from fuzz.guided import POLL_SECONDS, Death, Guided, Kept
from fuzz.job import SEARCH_CPU_MS, Job, Survey, Suspect
from fuzz.limits import OPERATION_BYTES, PROFILE_BYTES, limits_of, probe_edges, program_bytes
from fuzz.native import decode, decoder_library, mutator_library
from fuzz.results import Result
from models.observation import Outcome, Run
from models.policy import Policy
from models.rules import ALL
from models.trace import Trace, TraceError, from_text

TRACES = Path(__file__).resolve().parent.parent / "tests" / "traces"
LENGTHS = (64, 256, 1024)  # operations a program
FIRST_CHUNK, CHUNK, CHUNK_TURNS = 4, 1000, 6  # of random programs; doubled every so many turns
CHUNK_SECONDS = 0.2
KNOWN_LIMIT = 200  # suspects that show nothing but rules found already, where runs are counted
HANG_BUDGET = 60  # executions to shrink a hang, each of which takes its whole time limit
SLOW_LIMIT = 5  # programs that are slow and do not hang, before slowness is left alone
JUDGING_SHARE = 0.3
ASKING = 1 / 3  # seconds for the exact model to a second of search; a program to so many...
ASKED_OF = 16  # ... where runs are counted
DENSE_SHARE, CYCLES_SHARE = 0.35, 0.15
SEARCH_SHARE = 0.8  # of what is left; the rest is for the survey of the corpus
CYCLE_OPERATIONS = 24
CONFIRMING = "confirming and shrinking"  # what a campaign tells of a rule that is broken


@dataclass(frozen=True)
class Options:
    """How a campaign is run; seconds and runs are budgets for one subject, 0 for none.

    A campaign ends with so many `findings`: one bug that corrupts the heap shows in many ways.
    """

    seconds: float = 0
    runs: int = 0
    seed: int = 1
    out: Path = Path("out/fuzz")
    prefix: str | None = None
    edges: bool = True
    states: bool = True
    dense: bool = True
    cycles: bool = True
    guided: bool = True
    findings: int = 4
    rules: frozenset[str] = ALL
    saved: Path = TRACES


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until a finding is both written and noted."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@dataclass
class Campaign:
    """A campaign on one subject; `result` holds what is known at any time."""

    spec: str
    options: Options
    tell: Callable[[str], None] = lambda _text: None
    find: Callable[..., Subject] = resolve  # from the spec to the subject, as resolve() does it
    result: Result = field(init=False)

    def __post_init__(self) -> None:
        self.result = Result(self.spec)
        self._policy = Policy()
        self._found: set[str] = set()
        self._known = self._slow = 0
        self._waiting: list[bytes] = []
        self._asked = 0

    def run(self) -> Result:
        """Runs all phases; what goes wrong is the result's error, but for KeyboardInterrupt."""
        started = time.monotonic()
        try:
            self._run()
        except SubjectError as error:
            self.result.error = str(error)
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
        subject = self.find(self.spec, prefix=self.options.prefix)
        self.result.rules_on = rules_on(subject, self.options.rules)
        self.result.notes += subject.notes
        with Bench(subject, self.options.rules) as self._bench:
            self._limits = limits_of(subject, probe_edges(self._bench.execute, subject))
            self._questions = Questions(self._bench.executor, self._limits, self.options.seed)
            self._replay_saved()
            searched = self._can_guide(subject)
            if self.options.dense:
                self._dense(1 - CYCLES_SHARE if not searched else DENSE_SHARE)
            if self.options.cycles:
                self._cycles()
            if searched and not self._enough:
                self._guided(subject)

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
                report = findings.write(
                    finding, self._bench.subject, self.options.out, self.options.prefix
                )
                self.result.reports.append(report)
        self._found |= {rule, finding.rule}

    def _note_vanished(self, rule: str) -> None:
        """A suspect that was clean when it was run again: a slow one, or a strange one."""
        self._slow += rule == "hang"
        if rule != "hang":
            self.result.vanished.append(rule)
        if rule != "hang" or self._slow == SLOW_LIMIT:
            self._found.add(rule)

    # ---- phases ----

    def _replay_saved(self) -> None:
        for path in sorted(self.options.saved.rglob("*.trace")):
            if self._enough:
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
                self._sample(self._bench.executor.last_trace())
                counted = self.options.runs and now // ASKED_OF
                self._ask(0 if counted else ASKING * (searched - started), counted or 3)
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
        executor, length = self._bench.executor, program_bytes(LENGTHS[turn % len(LENGTHS)])
        limits = self._limits if turn % 2 else self._limits.dense()  # half of them are dense, too
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
            for trace in dedicated(self._bench.executor.last_trace(), self._bench.subject):
                if self._enough:
                    return
                run = self._execute(trace)
                if worth_judging(trace, run):
                    self._judge(trace, run)
                if budget.seconds and not budget.cut(1):
                    return

    def _can_guide(self, subject: Subject) -> bool:
        options, notes = self.options, self.result.notes
        if not options.guided:
            return False
        if not guided.available():
            notes.append("atheris is not installed: no coverage guidance, random programs alone")
            return False
        blind = subject.prebuilt is not None or not options.edges
        if blind and not options.states:
            notes.append("neither edges nor heap states: no guidance, random programs alone")
            return False
        if subject.prebuilt:
            notes.append("prebuilt: searched without C edges, on heap states alone")
        return True

    def _guided(self, subject: Subject) -> None:
        job = self._job(subject)
        log, tell = self._folder() / "search.log", self._progress(lambda: search)
        search = Guided(job, log, tell, keeps=self._bench.predict is not None)
        before = (self.result.executions, self.result.ops)
        try:
            with closing(search.run()) as messages:  # the worker ends with it, come what may
                for message in messages:
                    self._count_guided(before, search)
                    if isinstance(message, Suspect):
                        self._reconsider(from_text(message.trace))
                    elif isinstance(message, Death):
                        self._after_death(message)
                    else:
                        self._ask_kept(message, search)
                    if self._enough:
                        break
        finally:
            self._count_guided(before, search)
        with closing(guided.survey(job, self._folder() / "survey.log")) as messages:
            for message in messages:
                if isinstance(message, Survey):
                    self.result.edges, self.result.states = message.edges, message.states
                else:
                    self._reconsider(from_text(message.trace))

    def _ask_kept(self, kept: Kept, search: Guided) -> None:
        """The exact model is asked about what the corpus gained, and where that leaves time about
        random programs; where runs are counted, about one program in ASKED_OF of the search's."""
        self._waiting += kept.programs
        until = time.monotonic() + ASKING * POLL_SECONDS
        while self._bench.predict and not self._enough:
            if self._waiting:
                trace = decode(self._waiting.pop(), self._limits.pack())
            else:
                trace = None if self.options.runs else self._questions.next()
            self._asked += 1
            over = (
                self._asked * ASKED_OF > search.executions
                if self.options.runs
                else (time.monotonic() > until)
            )
            if trace is None or over:
                return
            self._sample(trace)

    def _count_guided(self, before: tuple[int, int], search: Guided) -> None:
        self.result.executions = before[0] + search.executions
        self.result.ops = before[1] + search.operations

    def _progress(self, search: Callable[[], Guided]) -> Callable[[], None]:
        return lambda: self.tell(f"coverage-guided search: {search().executions:,} executions")

    def _job(self, subject: Subject) -> Job:
        options, folder = self.options, self._folder()
        corpus = folder / "corpus"
        guided.seed_corpus(corpus, options.seed)
        rest = 1 - CYCLES_SHARE - (DENSE_SHARE if options.dense else 0)
        budget = Budget(options.seconds, options.runs, rest * SEARCH_SHARE)
        if options.edges and not subject.prebuilt:
            subject = self.find(self.spec, prefix=options.prefix, coverage=True)
        return Job(
            subject,
            self._limits.pack(),
            decoder_library(),
            mutator_library(),
            corpus,
            folder / "journal",
            runs=budget.runs,
            seconds=budget.seconds,
            seed=options.seed,
            states=options.states,
            rules=options.rules,
            known_limit=KNOWN_LIMIT if options.runs else 0,
        )

    def _reconsider(self, trace: Trace) -> None:
        run = self._bench.execute(trace)
        self._consider(trace, run)

    def _after_death(self, death: Death) -> None:
        """The program that the worker died of is run where dying does no harm."""
        trace = decode(death.program, self._limits.pack())
        run = self._bench.execute(trace)
        if run.outcome is Outcome.FINISHED and self._bench.glance(trace, run).ok:
            self.result.notes.append(
                f"the search ended with {death} on a program that breaks nothing by itself"
            )
        self._consider(trace, run)
