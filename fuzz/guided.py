"""The parent's side of the coverage-guided search: starts the worker, watches it, outlives it.

It passes on what the worker suspects and the programs it died of; it judges nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import random
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from allocator.sandbox import Rest, end_group, environment
from allocator.subject import SubjectError
from fuzz.job import ENOUGH, Job, Survey, Suspect, from_line
from fuzz.journal import read_journal
from fuzz.limits import OPERATION_BYTES, PROFILE_BYTES

WORKER = Path(__file__).resolve().parent / "worker.py"
SEEDS, SEED_OPERATIONS = 48, (64, 256, 1000)
POLL_SECONDS = 0.2
STALL_SECONDS = 15.0
ASLEEP_SECONDS = 4.0
START_SECONDS = 90.0  # a new Python on a busy machine, its modules not yet compiled
RESTARTS = 20
SURVEY_SECONDS = 120.0
WORKER_STARTS = "INFO: Using built-in libfuzzer"
DYING_WORDS = re.compile(
    r"^ === Timeout: .*|^\w*(?:Error|Exception|Interrupt|Exit)\b.*|ERROR: libFuzzer: .*", re.M
)


@dataclass(frozen=True)
class Death:
    """The worker died; `program` is what it was running, `words` is what its log says of it."""

    program: bytes
    status: int | None
    words: str = ""

    def __str__(self) -> str:
        status = "silence" if self.status is None else f"status {self.status}"
        return f"{status} ({self.words})" if self.words else status


@dataclass(frozen=True)
class Kept:
    """Programs that the corpus has gained; told at each look at the worker, even if none."""

    programs: tuple[bytes, ...]


def available() -> bool:
    """Atheris can be had on this platform and Python."""
    return importlib.util.find_spec("atheris") is not None


def seed_corpus(corpus: Path, seed: int) -> None:
    """Fills an empty corpus with random programs, a half of them dense by their profile."""
    corpus.mkdir(parents=True, exist_ok=True)
    if any(corpus.iterdir()):
        return
    source = random.Random(seed)
    for number in range(SEEDS):
        length = PROFILE_BYTES + OPERATION_BYTES * SEED_OPERATIONS[number % len(SEED_OPERATIONS)]
        (corpus / f"seed-{number:02}").write_bytes(source.randbytes(length))


def drop_seed(corpus: Path, program: bytes) -> None:
    """Takes a program out of the corpus: the next worker would die of it before it searched."""
    for path in corpus.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another search was quicker
            if path.read_bytes() == program:
                path.unlink()


class Guided:
    """A guided search within its budget, through as many workers as it takes.

    `executions` and `operations` count what was done so far; `tell` is called now and then.  With
    `keeps` it says too what the corpus gains.
    """

    def __init__(
        self, job: Job, log: Path, tell: Callable[[], None] = lambda: None, *, keeps: bool = False
    ) -> None:
        self._job = job
        self._keeps = keeps
        self._log = log
        log.unlink(missing_ok=True)
        self._tell = tell
        self._before = (0, 0)
        self._checked = False
        self._kept: set[str] = set()
        self.executions = self.operations = 0

    def run(self) -> Generator[Suspect | Death | Kept, None, None]:
        """Searches; what the worker suspects comes out as it is found, and what it keeps.

        Raises SubjectError when the worker cannot work: it dies before its first program, again
        and again on the way, or shows no C edges where the subject was built with them.
        """
        started = time.monotonic()
        for attempt in range(RESTARTS):
            job = self._remaining(time.monotonic() - started, attempt)
            if job is None:
                return
            with _Worker("search", job, self._log) as worker:
                yield from self._watch(worker, started)
                status = worker.status
            if status == ENOUGH or (not status and self._finished()):
                return
            program = read_journal(job.journal).program
            drop_seed(job.corpus, program)
            yield Death(program, status, self._dying_words())
            self._note_progress()
            self._before = (self.executions, self.operations)
        raise SubjectError(f"the search died {RESTARTS} times: {self._last_words()}")

    def _remaining(self, elapsed: float, attempt: int) -> Job | None:
        """The job less what was done; None when nothing is left."""
        job = replace(self._job, seed=self._job.seed + attempt)
        if self._job.runs:
            job = replace(job, runs=self._job.runs - self.executions)
        if self._job.seconds:
            job = replace(job, seconds=self._job.seconds - elapsed)
        spent = (self._job.runs and job.runs <= 0) or (self._job.seconds and job.seconds < 0.5)
        return None if spent else job

    def _watch(self, worker: _Worker, started: float) -> Iterator[Suspect | Kept]:
        moved = time.monotonic()
        rest = worker.rest()
        while worker.running:
            for message in worker.messages(POLL_SECONDS):
                if isinstance(message, Suspect):
                    self._note_progress()
                    yield message
                    rest = worker.rest()
            if self._keeps:
                yield Kept(tuple(self._gained()))
            now = time.monotonic()
            if self._note_progress():
                moved = now
            self._check_edges()
            self._tell()
            patience = STALL_SECONDS if self.executions else START_SECONDS
            overdue = self._job.seconds and now - started > self._job.seconds + patience
            asleep = rest.look()[1] > ASLEEP_SECONDS and self.executions > self._before[0]
            if now - moved > patience or overdue or asleep:
                worker.kill()
        for message in worker.messages(0):
            if isinstance(message, Suspect):
                self._note_progress()
                yield message
        self._note_progress()
        if not self.executions and not self._finished():
            raise SubjectError(f"the search does not start: {self._last_words()}")

    def _gained(self) -> Iterator[bytes]:
        """What the corpus did not have; the worker may be writing one, which is read later."""
        for entry in os.scandir(self._job.corpus):
            if entry.name not in self._kept and entry.stat().st_size > PROFILE_BYTES:
                self._kept.add(entry.name)
                yield Path(entry.path).read_bytes()

    def _note_progress(self) -> bool:
        entry = read_journal(self._job.journal)
        executions, operations = self._before
        headers = entry.executions * PROFILE_BYTES
        before, self.executions = self.executions, executions + entry.executions
        self.operations = operations + max(0, entry.bytes - headers) // OPERATION_BYTES
        return self.executions != before

    def _check_edges(self) -> None:
        """Without C edges a subject built with coverage would be searched blindly: an error."""
        text = self._log_text()
        if self._checked or "INITED" not in text:
            return
        self._checked = True
        line = re.search(r"INFO: Loaded \d+ modules?\s+\(.*", text)
        modules = len(re.findall(r"\d+ \[0x", line[0])) if line else 0
        if self._job.subject.coverage and modules <= self._job.states:
            raise SubjectError("built with coverage, but shows no C edges: libFuzzer loaded none")

    def _finished(self) -> bool:
        """The worker came to its own end."""
        return bool(re.search(r"^Done \d+ runs", self._log_text(), re.M))

    def _log_text(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except OSError:
            return ""

    def _dying_words(self) -> str:
        """Where the last worker ended by itself: what it, libFuzzer or atheris said of why."""
        text = self._log_text().rpartition(WORKER_STARTS)[2]
        return "; ".join(dict.fromkeys(line.strip("= ") for line in DYING_WORDS.findall(text)))

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log_text().splitlines() if line.strip()]
        return (
            lines[-1] if lines else f"no program within {START_SECONDS:.0f} s: is the machine busy?"
        )


def survey(job: Job, log: Path) -> Generator[Suspect | Survey, None, None]:
    """What the corpus covers, and what its programs break."""
    deadline = time.monotonic() + SURVEY_SECONDS
    log.unlink(missing_ok=True)
    with _Worker("survey", job, log) as worker:
        rest = worker.rest()
        while worker.running and time.monotonic() < deadline:
            for message in worker.messages(POLL_SECONDS):
                yield message
                rest = worker.rest()
            if rest.look()[1] > ASLEEP_SECONDS:
                worker.kill()
        yield from worker.messages(0)


class _Worker:
    """A worker process and its line of messages; ends with the block it is used in."""

    def __init__(self, task: str, job: Job, log: Path) -> None:
        job.journal.unlink(missing_ok=True)
        self._read, write = os.pipe()
        self._pending = b""
        with log.open("ab") as output:  # a worker that was started again adds to it
            self._process = subprocess.Popen(
                [sys.executable, str(WORKER), task, str(write)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C is the parent's to answer
                env=environment(),
            )
        os.close(write)
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(pickle.dumps(job))
            self._process.stdin.close()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def messages(self, seconds: float) -> Iterator[Suspect | Survey]:
        """What was said within `seconds`, or is still unread."""
        while select.select([self._read], [], [], seconds)[0]:
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                time.sleep(min(seconds, 0.02))
                return
            *lines, self._pending = (self._pending + chunk).split(b"\n")
            yield from (message for message in map(from_line, lines) if message)
            seconds = 0

    def rest(self) -> Rest:
        """From now on: how long it has been asleep, where it has nothing to wait for."""
        return Rest(self._process.pid, lambda: None)

    def kill(self) -> None:
        end_group(self._process)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.kill()
        os.close(self._read)
