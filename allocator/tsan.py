"""A subject and free-running threads in one program with ThreadSanitizer: what it says of a trace.

Sources only; it judges nothing, and runs a trace on the real operating system, not on the harness.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from allocator import build
from allocator.build import HARNESS, ONE_THREAD, Compiler, Unit
from allocator.executor import CPU_LIMIT_MS
from allocator.region import Region, capacity_for
from allocator.sandbox import environment
from allocator.subject import Subject, SubjectError
from models.observation import Outcome, Run
from models.trace import ALLOCATING, Kind, Op, Trace

COMPILERS = ("gcc", "clang")  # that a machine may have; ziglang builds TSan's own library first
SECONDS = 120.0
MOST_BYTES = 1 << 22  # of a request
_FLAGS = ("-O1", "-g", "-fsanitize=thread", "-fno-omit-frame-pointer", "-fPIE")
_PROBE = "int main(void) { return 0; }\n"
_OPTIONS = "exitcode=0 detect_deadlocks=0 report_signal_unsafe=0 history_size=4"
_ACCESS = re.compile(
    r"^  (Previous )?(atomic )?(read|write) of size (\d+) at \S+ by .*:\n((?:    #\d+ .*\n)+)",
    re.IGNORECASE | re.MULTILINE,
)
_FRAME = re.compile(r"#\d+ (\S+) (\S+?):(\d+)(?::\d+)? ")


@dataclass(frozen=True)
class Access:
    """One of the two accesses of a race: what was done where; `line` 0 where nobody knows."""

    what: str
    size: int
    function: str
    file: str
    line: int

    def __str__(self) -> str:
        where = f" ({self.file}:{self.line})" if self.line else ""
        return f"a {self.what} of {self.size} bytes in {self.function}{where}"


def races(told: str) -> Iterator[tuple[Access, ...]]:
    """The accesses of each data race in what TSan has written."""
    for part in told.split("WARNING: ThreadSanitizer: ")[1:]:
        if part.startswith("data race"):
            yield tuple(_access(*match.groups()) for match in _ACCESS.finditer(part))


def _access(previous: str | None, atomic: str | None, what: str, size: str, frames: str) -> Access:
    del previous
    places = _FRAME.findall(frames)
    ours = [each for each in places if "libsanitizer" not in each[1]]
    function, file, line = (ours or places or [("an unknown function", "", "0")])[0]
    return Access(f"{atomic or ''}{what}".lower(), int(size), function, Path(file).name, int(line))


def sentence(told: str) -> str:
    """The first race in words, "" where there is none."""
    for accesses in races(told):
        both = ", and ".join(map(str, accesses[:2]))
        return f"nothing orders {both}" if both else "a data race"
    return ""


def compiler(chosen: str = "") -> Compiler:
    """The compiler named, or the first that has ThreadSanitizer; SubjectError with what to do."""
    for name in [chosen] if chosen else COMPILERS:
        if shutil.which(name.split()[0]) and _links(name.split()):
            return build.chosen_compiler(name.split())
    if chosen:
        raise SubjectError(f"{chosen} builds no program with -fsanitize=thread: choose another one")
    return build.compiler()


def _links(command: list[str]) -> bool:
    with tempfile.TemporaryDirectory(prefix="tsan-") as folder:
        words = [*command, "-fsanitize=thread", "-x", "c", "-", "-o", f"{folder}/probe"]
        done = subprocess.run(words, input=_PROBE, text=True, capture_output=True, check=False)
        return done.returncode == 0


def modest(op: Op) -> Op:
    """The operation with a size that the machine has: nobody refuses pages here, and what is
    cleared of 4 GiB is there, and several times over for ThreadSanitizer."""
    if op.kind not in ALLOCATING or op.size <= MOST_BYTES:
        return op
    if op.kind is Kind.MALLOC:
        return replace(op, first=MOST_BYTES)
    return replace(op, second=MOST_BYTES, **({"first": 1} if op.kind is Kind.CALLOC else {}))


class Sanitized:
    """A subject built with ThreadSanitizer, ready to run traces; SubjectError if it cannot be."""

    def __init__(self, subject: Subject, chosen: str = "") -> None:
        if not subject.sources or not subject.adapter:
            raise SubjectError("ThreadSanitizer needs the source: a prebuilt library has none")
        self._subject = subject
        self._program = _program(subject, compiler(chosen))

    def run(self, trace: Trace, seed: int, rounds: int) -> Run:
        """Runs the threads of a laid-out trace freely; `race` of the run is what TSan found."""
        file = os.memfd_create("tsan-region")
        trace = trace.with_ops(tuple(map(modest, trace.ops)))
        capacity = capacity_for(trace) + 1
        os.ftruncate(file, Region.size(capacity))
        region = Region(capacity, self._subject.contract, False, file)
        region.write_trace(trace, "race", CPU_LIMIT_MS)
        region.write_race(seed, rounds)
        try:
            status, told = self._start(file)
        finally:
            os.close(file)
        return _ended(region.read_run(), status, sentence(told))

    def _start(self, file: int) -> tuple[int | None, str]:
        words = ["setarch", "-R", str(self._program)] if shutil.which("setarch") else []
        words = words or [str(self._program)]
        try:
            done = subprocess.run(
                [*words, f"/proc/self/fd/{file}"],
                pass_fds=(file,),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                env={**environment(), "TSAN_OPTIONS": _OPTIONS},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, ""
        return done.returncode, done.stderr


def _ended(run: Run, status: int | None, told: str) -> Run:
    """The run with how the program ended."""
    if status is None:
        return replace(run, outcome=Outcome.HANG, signal=9, suspicious=True)
    if status < 0:
        run = replace(run, outcome=Outcome.SIGNAL, signal=-status, suspicious=True)
    elif status:
        run = replace(run, outcome=Outcome.EXIT, exit_status=status, suspicious=True)
    return replace(run, race=told, suspicious=run.suspicious or bool(told))


def _program(subject: Subject, tool: Compiler) -> Path:
    assert subject.folder
    assert subject.adapter
    hidden = (*ONE_THREAD, "-O2", "-fno-sanitize=undefined")
    flags = tuple(flag for flag in build.subject_flags(subject) if flag not in hidden)
    own = (*flags, *_FLAGS)
    units = [Unit(source, own, subject.folder) for source in subject.sources]
    units.append(Unit(subject.adapter, (*own, "-w"), subject.folder))
    ours = (*_FLAGS, "-std=gnu17", f"-I{HARNESS}")
    units += [
        Unit(HARNESS / name, ours, HARNESS)
        for name in ("race.c", "race_step.c", "pattern.c", "table.c", "tsan_main.c")
    ]
    units.append(Unit(HARNESS / "memlib.c", ours, HARNESS))
    objects = [build.compile_object(unit, tool) for unit in units]
    words = ["-fsanitize=thread", "-pie", "-lm", "-ldl", "-lpthread"]
    return build.link(f"{subject.name}-tsan", objects, words, suffix="", tool=tool)
