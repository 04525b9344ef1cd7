"""The search in a process of its own: atheris drives programs into one subject, in this process.

It decides nothing that lasts: what it finds suspicious, the parent judges again elsewhere.
Started by guided.py with a pickled Job on standard input: worker.py {search|survey} MESSAGE_FD.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not fuzz/: its files must not stand in for anybody's modules

from allocator import binding
from allocator.executor import InProcess
from allocator.sandbox import limit_memory
from fuzz.bench import exact_model
from fuzz.job import ENOUGH, SEARCH_CPU_MS, STATE_COUNTERS, Job, Survey, Suspect, to_line
from fuzz.journal import Journal
from models.judge import CannotJudge, Predict, judge
from models.trace import to_text

SAMPLED = 4096  # one in so many programs is judged without being suspicious

JUDGED_EACH = 3  # traces told for one rule, before only shorter ones are
JUDGING_SHARE = 0.3  # of the time, at most
RUN_CAPACITY = 1 << 11
SURVEY_SHARE, SURVEY_SECONDS = 0.2, 20.0  # of a search in seconds; for one in runs
# A counter's value to one bit, as libFuzzer does: 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more.
HOW_OFTEN = bytes(
    bool(hits) << sum(hits >= least for least in (2, 3, 4, 8, 16, 32, 128)) for hits in range(256)
)
WHETHER = bytes(map(bool, range(256)))
SIGNALS = tuple(
    f"-handle_{name}=0"
    for name in ("abrt", "bus", "fpe", "ill", "int", "segv", "term", "usr1", "usr2", "xfsz")
)
# No time limit.  To libFuzzer that is 0, but atheris has an alarm of its own which takes 0 for
# "ends each program that is under way at a full second of the clock".
NO_TIMEOUT = 1_000_000


class Search:
    """One program after another, as libFuzzer hands them over."""

    def __init__(self, job: Job, executor: InProcess, messages: int) -> None:
        self._job = job
        self._executor = executor
        self._messages = messages
        self._journal = Journal(job.journal, job.max_program)
        self._predict = exact_model(job.subject)
        self._told: dict[str, list[int]] = {}
        self._started = time.monotonic()
        self._judging = 0.0
        self._known = 0
        self._parent = os.getppid()

    def one_input(self, data: bytes) -> None:
        """Runs one program."""
        journal = self._journal
        journal.write(data)
        suspicious = self._executor.run_bytes(data)
        if journal.executions == 1:
            binding.install_guard()  # libFuzzer has taken the signals since it was opened
        sampled = not journal.executions % SAMPLED
        if sampled and os.getppid() != self._parent:
            os._exit(ENOUGH)
        if suspicious or sampled:
            self._consider(None if suspicious else self._predict)

    def _consider(self, predict: Predict | None) -> None:
        now = time.monotonic()
        if self._judging > JUDGING_SHARE * (now - self._started) + 1:
            return
        trace, run = self._executor.last_trace(), self._executor.last_run()
        try:
            verdict = judge(trace, run, self._executor.subject.contract, self._job.rules, predict)
        except CannotJudge:
            return
        finally:
            self._judging += time.monotonic() - now
        lengths = self._told.setdefault(verdict.rule, [])
        if verdict.ok:
            return
        if len(lengths) >= JUDGED_EACH and len(trace) >= 0.8 * min(lengths):
            self._known += 1
            if self._known == self._job.known_limit:
                os._exit(ENOUGH)
            return
        lengths.append(len(trace))
        suspect = Suspect(verdict.rule, to_text(trace), self._journal.executions)
        try:
            os.write(self._messages, to_line(suspect))
        except BrokenPipeError:
            os._exit(ENOUGH)  # nobody listens any more
        if self._job.stop_at_first:
            os._exit(ENOUGH)


def atheris_core() -> Path:
    """The shared object of atheris that carries libFuzzer; it is loaded before it is imported."""
    spec = importlib.util.find_spec("atheris")
    assert spec, "the parent starts no search without atheris"
    assert spec.origin, "atheris is a package"
    (core,) = Path(spec.origin).parent.glob("core_with_libfuzzer*.so")
    return core


def libfuzzer_options(job: Job) -> list[str]:
    """argv for libFuzzer: signals are the guard's, time limits the parent's."""
    options = list(SIGNALS)
    options += [f"-timeout={NO_TIMEOUT}", "-rss_limit_mb=0", "-len_control=0", "-detect_leaks=0"]
    options += ["-reduce_inputs=0", "-prefer_small=0"]
    options += [f"-artifact_prefix={job.corpus.parent}/"]
    options += [f"-max_len={job.max_program}", f"-seed={job.seed % 2**31 or 1}"]
    options += [f"-runs={job.runs}"] if job.runs else []
    options += [f"-max_total_time={max(1, round(job.seconds))}"] if job.seconds else []
    # A shell command, not a path: libFuzzer starts it again as one.
    return [f"{sys.executable} {__file__}", *options, str(job.corpus)]


def open_subject(job: Job) -> InProcess:
    """The subject, ready to run bytes."""
    executor = InProcess(job.subject, job.decoder, RUN_CAPACITY)
    executor.set_limits(job.limits)
    executor.region.write_request(0, 0, "end", SEARCH_CPU_MS)
    return executor


def search(job: Job, messages: int) -> None:
    """Searches until the budget is spent; libFuzzer ends the process itself."""
    core = str(atheris_core())
    if job.mutator:  # without one, libFuzzer mutates bytes
        binding.load_global(str(job.mutator))
    binding.load_global(core)
    executor = open_subject(job)
    if job.states:
        binding.register_counters(core, executor.state_counters(STATE_COUNTERS), STATE_COUNTERS)
    import atheris  # the core must be in place before

    atheris.Setup(
        libfuzzer_options(job),
        Search(job, executor, messages).one_input,
        internal_libfuzzer=True,
    )
    executor.confine()
    atheris.Fuzz()


class Coverage:
    """What counters have shown; `shown` has a value's bit: how often, or only whether."""

    def __init__(self, shown: bytes) -> None:
        self._shown = shown
        self._size: int | None = None
        self._seen = 0

    def add(self, counters: bytes | None) -> bool:
        """Takes the counters of one program; whether they show anything new."""
        if counters is None:
            return False
        self._size = len(counters)
        before = self._seen
        self._seen |= int.from_bytes(counters.translate(self._shown), "little")
        return self._seen != before

    def features(self) -> int:
        """How many different things were shown."""
        return self._seen.bit_count()

    def count(self) -> int | None:
        """How many were seen not to be zero; None where there are no counters."""
        if self._size is None:
            return None
        return self._size - self._seen.to_bytes(self._size, "little").count(0)


def survey(job: Job, messages: int) -> None:
    """Runs each program of the corpus once, short ones first, and tells what they cover.

    Those that are kept are judged, as far as a share of the search's time lasts, and whatever is
    suspicious.
    """
    executor = open_subject(job)
    executor.confine()
    executor.state_counters(STATE_COUNTERS)
    told: set[str] = set()
    edges, states = Coverage(HOW_OFTEN), Coverage(WHETHER)
    kept: list[str] = []
    deadline = time.monotonic() + (SURVEY_SHARE * job.seconds or SURVEY_SECONDS)
    programs = sorted((path.stat().st_size, path) for path in job.corpus.iterdir())
    for count, (_, path) in enumerate(programs, 1):
        suspicious = executor.run_bytes(path.read_bytes())
        seen = executor.counters()
        news = edges.add(seen[0]), states.add(seen[1])
        kept += [path.name] if any(news) else []
        if not suspicious and (not any(news) or time.monotonic() > deadline):
            continue
        trace, run = executor.last_trace(), executor.last_run()
        try:
            verdict = judge(trace, run, job.subject.contract, job.rules, exact_model(job.subject))
        except CannotJudge:
            continue
        if not verdict.ok and verdict.rule not in told:
            told.add(verdict.rule)
            os.write(messages, to_line(Suspect(verdict.rule, to_text(trace), count)))
    os.write(messages, to_line(Survey(edges.count(), states.count() or 0, tuple(kept))))


def main() -> None:
    """Reads the job and does what the first argument says."""
    job = pickle.load(sys.stdin.buffer)
    limit_memory()
    messages = binding.keep_file(int(sys.argv[2]))
    {"search": search, "survey": survey}[sys.argv[1]](job, messages)


if __name__ == "__main__":
    main()
