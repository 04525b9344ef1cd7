"""Runs real programs on the bundled allocators and compares them with the system's malloc.

It looks at output, exit status and CPU time alone: inside the programs nothing is checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from allocator import own_python

    own_python.need("rich")

from rich.console import Console
from rich.table import Table

from allocator import ctrl_c, preload
from allocator.catalogue import gallery
from allocator.command_line import Parser
from allocator.subject import SubjectError
from ci.workloads import PROGRAMS, Program, Work

README = preload.DROPIN / "README.md"
BEGIN, END = "<!-- real_programs.py writes from here -->", "<!-- to here -->"
MOST_MEMORY = 4 << 30
SECONDS = 20.0
# Between a constant search and one through all blocks, where twice the work costs four times.
_WORST_GROWTH = 1.5
_REACHING = "tlsf"  # quick: what is reached does not depend on the allocator
_PATIENCE = 3  # with the system's malloc, which everything is compared with
SAME, DIFFERS, LIMIT, MISSING = "same", "differs", "limit", "missing"

_DESCRIPTION = """\
The table of real programs times allocators: each program does the same work on the system's malloc
and on each allocator, through LD_PRELOAD. Its output and exit status must be the same; the CPU time
is told as a ratio. Each allocator gets the largest work that it can be expected to do within the
CPU limit: a linear search is slow by nature."""

_EXAMPLES = """\
examples:
  python ci/real_programs.py                            every allocator, every program
  python ci/real_programs.py tlsf buddy --program git   two allocators, one program
  python ci/real_programs.py --seconds 5 --json real.json
  python ci/real_programs.py --write                    the table goes into dropin/README.md

exit status: 0 the same output everywhere; 1 another output or exit status; 2 something could not
be run, or not even the least work within the limit; 130 Ctrl-C."""


@dataclass(frozen=True)
class Ran:
    """One run: what it showed, in CPU seconds of the program and its children."""

    digest: str
    status: int
    seconds: float
    errors: str
    limited: bool


@dataclass(frozen=True)
class Row:
    """One program on one allocator at the largest size that was run; times in CPU seconds.

    verdict is same, differs, limit (not even the least work) or missing (no such program).
    """

    allocator: str
    program: str
    verdict: str
    size: str = ""
    seconds: float = 0.0
    system_seconds: float = 0.0
    note: str = ""

    @property
    def slowdown(self) -> float:
        """CPU time as a multiple of the same work's on the system's malloc."""
        return self.seconds / self.system_seconds if self.system_seconds else 0.0

    def __str__(self) -> str:
        if self.verdict == SAME:
            return f"{self.slowdown:.2f} ({self.size})"
        return {MISSING: "not installed", LIMIT: "over the limit"}.get(self.verdict, "DIFFERS")


def run(work: Work, scratch: Path, environment: dict[str, str], seconds: float) -> Ran:
    """Runs the work in a copy of its folder; `seconds` of CPU time for each process of it."""
    place = scratch / "run"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(work.folder, place)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        work.command,
        cwd=place,
        env={**environment, **work.settings, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_limits(seconds),
        start_new_session=True,
    )
    limited = False
    try:
        output, errors = process.communicate(timeout=10 * seconds + 10)
    except subprocess.TimeoutExpired:
        limited = True
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # A shell tells as 128 + N what ended its child.
    limited |= process.returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU)
    told = errors.decode(errors="replace").strip().splitlines()
    digest = hashlib.sha256(output).hexdigest()
    return Ran(digest, process.returncode, spent, told[-1] if told else "", limited)


def _limits(seconds: float) -> Callable[[], None]:
    def impose() -> None:
        whole = max(1, round(seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return impose


class Bench:
    """The programs, their work on the system's malloc, and the table as it grows."""

    def __init__(self, names: Sequence[str], scratch: Path, seconds: float) -> None:
        self.scratch = scratch
        self.seconds = seconds
        self.programs = [PROGRAMS[name](scratch / name) for name in names]
        self._system: dict[int, Ran] = {}

    def system(self, work: Work) -> Ran:
        """The work on the system's malloc, the quicker of two runs; SubjectError if it fails."""
        if id(work) not in self._system:
            patience = _PATIENCE * self.seconds
            runs = [run(work, self.scratch, dict(os.environ), patience) for _ in range(2)]
            best = min(runs, key=lambda ran: ran.seconds)
            if any(each.limited for each in runs):
                raise SubjectError(
                    f"{work.command[0]}, {work.size}: over {patience:g} s of CPU time on the "
                    "system's malloc: try a larger --seconds"
                )
            if best.status or runs[0].digest != runs[1].digest:
                what = best.errors or "its output is another each time"
                raise SubjectError(f"{work.command[0]} on the system's malloc: {what}")
            self._system[id(work)] = best
        return self._system[id(work)]

    def demand_reach(self, allocator: str) -> None:
        """LD_PRELOAD must reach each program: what is told of a static one would be a lie."""
        for program in self.programs:
            if not program.works:
                continue
            file = self.scratch / f"{program.name}.stats"
            environment = preload.environment(allocator, stats=str(file))
            run(program.works[0], self.scratch, environment, self.seconds)
            if not file.is_file() or "malloc" not in file.read_text():
                raise SubjectError(f"{program.name}: LD_PRELOAD does not reach it (static?)")

    def rows(self, allocator: str) -> Iterator[Row]:
        """Every program on one allocator."""
        environment = preload.environment(allocator)
        for program in self.programs:
            yield self._row(allocator, program, environment)

    def _row(self, allocator: str, program: Program, environment: dict[str, str]) -> Row:
        """The sizes one after the other, while the next one can be expected to fit."""
        row = Row(allocator, program.name, MISSING, note=program.missing)
        for index, work in enumerate(program.works):
            system = self.system(work)
            if index:
                growth = system.seconds / self.system(program.works[index - 1]).seconds
                if row.seconds * growth**_WORST_GROWTH > self.seconds:
                    return replace(row, note=f"{work.size} would take too long")
            ran = run(work, self.scratch, environment, self.seconds)
            if ran.limited and index:
                return replace(row, note=f"{work.size} took over {self.seconds:g} s")
            verdict, note = self._compare(ran, system)
            row = Row(
                allocator, program.name, verdict, work.size, ran.seconds, system.seconds, note
            )
            if verdict != SAME:
                break
        return row

    def _compare(self, ran: Ran, system: Ran) -> tuple[str, str]:
        if ran.limited:
            return LIMIT, f"took over {self.seconds:g} s"
        if ran.status != system.status:
            return DIFFERS, f"status {ran.status}, not {system.status}: {ran.errors}"
        if ran.digest != system.digest:
            return DIFFERS, f"another output: {ran.errors}"
        return SAME, ""


def matrix(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of the table: an allocator a line, a program a column."""
    programs = list(dict.fromkeys(row.program for row in rows))
    cells = {(row.allocator, row.program): str(row) for row in rows}
    allocators = list(dict.fromkeys(row.allocator for row in rows))
    lines = [[name, *(cells.get((name, each), "") for each in programs)] for name in allocators]
    return ["allocator", *programs], lines


def markdown(rows: Sequence[Row]) -> str:
    """The table as README.md shows it."""
    head, lines = matrix(rows)
    table = [head, ["---"] * len(head), *([f"`{name}`", *cells] for name, *cells in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def write(rows: Sequence[Row], file: Path) -> None:
    """Puts the table between the markers of a README; SubjectError where there are none."""
    text = file.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SubjectError(f"{file.name}: no markers for the table")
    file.write_text(f"{before}{BEGIN}\n\n{markdown(rows)}\n\n{END}{after}")


def to_json(rows: Sequence[Row]) -> str:
    """The rows for a machine."""
    table = [{**asdict(row), "slowdown": round(row.slowdown, 3)} for row in rows]
    return json.dumps({"schema": 1, "tool": "real_programs", "rows": table}, indent=2) + "\n"


def show(rows: Sequence[Row], console: Console) -> None:
    """The table, and what there is to say of single cells."""
    head, lines = matrix(rows)
    table = Table(*head, caption="CPU time, as a multiple of the system's malloc (work done)")
    for line in lines:
        table.add_row(*line)
    console.print(table)
    told = {f"{row.program}: {row.note}" for row in rows if row.verdict == MISSING}
    told |= {
        f"{row.allocator}, {row.program}, {row.size}: {row.note}"
        for row in rows
        if row.note and row.verdict != MISSING
    }
    for line in sorted(told):
        console.print(line, markup=False)


def exit_code(rows: Sequence[Row]) -> int:
    """1 for another output, else 2 where the least work was too much, else 0."""
    verdicts = {row.verdict for row in rows}
    return 1 if DIFFERS in verdicts else 2 if LIMIT in verdicts or not rows else 0


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES)
    it.allow_abbrev = False
    it.add_argument("names", nargs="*", metavar="NAME", help="allocators (default: all bundled)")
    it.add_argument(
        "--program", action="append", choices=list(PROGRAMS), help="only this one; repeatable"
    )
    it.add_argument(
        "--seconds", type=_seconds, default=SECONDS, help="CPU limit of a run (%(default)g)"
    )
    it.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    it.add_argument("--write", action="store_true", help=f"put the table into {README.name}")
    return it


def _seconds(word: str) -> float:
    value = float(word)
    if not 1 <= value <= 3600:
        raise ValueError
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    console, progress = Console(), Console(stderr=True)
    rows: list[Row] = []
    interrupted = False
    try:
        names = words.names or gallery()
        with tempfile.TemporaryDirectory(prefix="allocheck-") as folder:
            bench = Bench(words.program or list(PROGRAMS), Path(folder), words.seconds)
            bench.demand_reach(_REACHING)
            for name in names:
                with progress.status(name):
                    rows += bench.rows(name)
    except SubjectError as error:
        print(f"ci/real_programs.py: {error}", file=sys.stderr)
        return preload.BAD_INPUT
    except KeyboardInterrupt:
        interrupted = True
    show(rows, console)
    if words.json:
        words.json.write_text(to_json(rows))
    if words.write and not interrupted:
        write(rows, README)
    return 130 if interrupted else exit_code(rows)


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
