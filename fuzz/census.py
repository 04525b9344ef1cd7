"""A census of what a search ran: the lines of the subject's C, and how often each operation.

It looks again at the corpus, at random programs and at the saved traces, on a build without
optimisation, in a process of its own; it judges nothing.
Started by itself: census.py FILE, with a pickled Errand on standard input.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not fuzz/: its files must not stand in for anybody's modules

from allocator.catalogue import resolve
from allocator.executor import InProcess
from allocator.lines import lines_of_counters
from allocator.sandbox import environment
from allocator.subject import Subject, SubjectError
from fuzz.bench import Bench
from fuzz.findings import subject_folder
from fuzz.limits import OPERATION_BYTES, PROFILE_BYTES, Limits, limits_of, probe_edges
from fuzz.native import decoder_library
from models.trace import Trace, TraceError, from_text

SECONDS, SHARE = 6.0, 0.25  # at most; of the time that was searched
PATIENCE = 60.0  # for a subject that takes the worker with it
RANDOM_PROGRAMS, OPERATIONS = 120, 256
CORPUS_PROGRAMS = 600
LONGEST_TRACE = 2000  # operations
CAPACITY = 1 << 11
WRITE_EACH = 32
_LOG_LINE = re.compile(r"^#(\d+)\s+[A-Za-z]+\s+cov: (\d+)", re.M)


@dataclass(frozen=True)
class Census:
    """What was counted: empty where there is no source, or nothing could be run.

    lines       file -> line -> how many of the `programs` executed it
    operations  how often each was executed, by its verb
    coverage    (executions of the guided search, edges and heap states then), as libFuzzer said
    """

    programs: int = 0
    lines: Mapping[Path, Mapping[int, int]] = field(default_factory=dict)
    operations: Mapping[str, int] = field(default_factory=dict)
    coverage: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Errand:
    """What the worker needs to know."""

    subject: Subject
    limits: Limits
    decoder: Path
    corpus: Path
    saved: Path
    seed: int
    seconds: float


def census(
    spec: str, prefix: str | None, out: Path, saved: Path, seed: int, searched: float = SECONDS
) -> Census:
    """The census of a subject that was searched for so many seconds, its files in `out`."""
    folder = subject_folder(out, spec)
    coverage = tuple(_coverage(folder / "search.log"))
    try:
        subject = resolve(spec, prefix=prefix, lines=True)
        if subject.prebuilt:
            subject = resolve(spec, prefix=prefix)
        with Bench(subject) as bench:
            limits = limits_of(subject, probe_edges(bench.execute, subject))
    except SubjectError:
        return Census(coverage=coverage)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "census.json"
    file.unlink(missing_ok=True)
    seconds = min(SECONDS, 1 + SHARE * searched)
    errand = Errand(subject, limits, decoder_library(), folder / "corpus", saved, seed, seconds)
    _send(errand, file)
    return _read(file, subject, coverage)


def _send(errand: Errand, file: Path) -> None:
    with open(os.devnull, "w") as nowhere:
        try:
            subprocess.run(
                [sys.executable, str(Path(__file__).resolve()), str(file)],
                input=pickle.dumps(errand),
                stdout=nowhere,
                stderr=nowhere,
                env=environment(),
                timeout=PATIENCE,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return


def _read(file: Path, subject: Subject, coverage: tuple[tuple[float, float], ...]) -> Census:
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return Census(coverage=coverage)
    lines: dict[Path, dict[int, int]] = {}
    for count, places in zip(told["counters"], lines_of_counters(subject.library), strict=False):
        for path, line in places:
            of_file = lines.setdefault(path, {})
            of_file[line] = max(count, of_file.get(line, 0))
    return Census(told["programs"], lines, told["operations"], coverage)


def _coverage(log: Path) -> Iterator[tuple[float, float]]:
    """(executions, edges and states) through the search; a worker that came later goes on."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return
    before = last = 0
    most = 0
    for match in _LOG_LINE.finditer(text):
        done, seen = int(match[1]), int(match[2])
        if done < last:
            before += last
        last, most = done, max(most, seen)
        yield before + done, most


# ---- the worker ----


def _programs(errand: Errand) -> Iterator[tuple[Limits, bytes]]:
    corpus = sorted(errand.corpus.iterdir()) if errand.corpus.is_dir() else []
    for path in corpus[:: len(corpus) // CORPUS_PROGRAMS + 1]:
        yield errand.limits, path.read_bytes()
    source = random.Random(errand.seed)
    for number in range(RANDOM_PROGRAMS):
        limits = errand.limits if number % 2 else errand.limits.dense()
        yield limits, source.randbytes(PROFILE_BYTES + OPERATIONS * OPERATION_BYTES)


def _traces(errand: Errand) -> Iterator[Trace]:
    for path in sorted(errand.saved.rglob("*.trace")):
        try:
            trace = from_text(path.read_text())
        except (OSError, ValueError, TraceError):
            continue
        if len(trace) <= LONGEST_TRACE:
            yield Trace(trace.ops, store=trace.store)


class Counting:
    """Adds up what program after program executes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counters: list[int] = []
        self._operations: Counter[str] = Counter()
        self._programs = 0

    def add(self, executor: InProcess) -> None:
        """Takes the program that ran last."""
        edges, _ = executor.counters()
        edges = edges or b""
        counts = self._counters or [0] * len(edges)
        self._counters = [count + bool(hit) for count, hit in zip(counts, edges, strict=True)]
        trace, done = executor.last_trace(), executor.last_run().done
        self._operations.update(op.kind.name.lower() for op in trace.ops[:done])
        self._programs += 1
        if not self._programs % WRITE_EACH:
            self.write()

    def write(self) -> None:
        """What is known so far; a worker that dies leaves that."""
        told = {
            "programs": self._programs,
            "counters": self._counters,
            "operations": dict(self._operations),
        }
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(told))
        fresh.replace(self._file)


def main() -> None:
    """The worker: runs everything once, or as much as there is time for."""
    errand: Errand = pickle.load(sys.stdin.buffer)
    counting, deadline = Counting(Path(sys.argv[1])), time.monotonic() + errand.seconds
    with InProcess(errand.subject, errand.decoder, CAPACITY) as executor:
        for limits, program in _programs(errand):
            executor.set_limits(limits.pack())
            executor.region.write_request(0, 0, "none", 50)
            executor.run_bytes(program)
            counting.add(executor)
            if time.monotonic() > deadline:
                break
        for trace in _traces(errand):
            if time.monotonic() > deadline:
                break
            executor.run(trace)
            counting.add(executor)
    counting.write()


if __name__ == "__main__":
    main()
