"""Compares the bundled allocators on the same workloads, in memory and in speed; see --help.

It asserts nothing: memory is the same each time, speed is a ratio to be read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from allocator import own_python

    own_python.need("rich")

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from allocator import build, ctrl_c
from allocator.catalogue import gallery, resolve
from allocator.command_line import Parser
from allocator.subject import SubjectError
from ci.textbook_workloads import Workload, generated, recorded
from models.trace import TraceError, pack_ops

CI = Path(__file__).resolve().parent
GALLERY = ROOT / "allocator" / "README.md"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
PEER = "glibc"
WIDE = 140  # columns, where nobody looks on
NONE = "-"  # in a cell; and the driver's word for the C library
ARENA = 1 << 23  # bytes of arena at least, where a subject wants one
NEEDED = frozenset({"malloc", "calloc", "realloc", "free"})

_DESCRIPTION = """\
Runs the same workloads on each bundled allocator and its variants, and on the C library's malloc
(glibc) by turns. Memory: the most that the page source had granted at any time, over the most that
was requested and live. Speed: operations a second, as a ratio to glibc in the same run. Pages: how
often the page source was called. Recorded traces in tests/traces/recorded/ are run too."""

_EXAMPLES = """\
examples:
  python ci/bench_textbook.py                  all of them, in under two minutes
  python ci/bench_textbook.py tlsf buddy       two of them
  python ci/bench_textbook.py mine.toml        one of yours
  python ci/bench_textbook.py --write          ... and write the tables into allocator/README.md

exit status: 0 measured; 2 a subject or a trace could not be had, or one did not come to the end of
any workload; 130 Ctrl-C (what was measured so far is printed and written to --json)."""


@dataclass(frozen=True)
class Cell:
    """One allocator on one workload.

    fragmentation   heap over payload at their peaks, None where the page source gave nothing
    speed           operations a second over the peer's
    requests        calls of the page source in a thousand operations, None as above
    error           why it did not come to its end; then there is nothing else
    """

    subject: str
    workload: str
    fragmentation: float | None = None
    speed: float | None = None
    requests: float | None = None
    error: str | None = None


def driver() -> Path:
    """The program that runs a packed trace, bench_textbook.c, built."""
    flags = (*build.harness_flags(), f"-I{build.HARNESS}")
    unit = build.Unit(CI / "bench_textbook.c", flags, CI)
    return build.link("bench_textbook", [build.compile_object(unit)], ["-ldl"], suffix="")


class Bench:
    """The driver and the workloads, packed into files: what each cell is measured with."""

    def __init__(self, workloads: Sequence[Workload], folder: Path, rounds: int) -> None:
        self.workloads = workloads
        self._driver = driver()
        self._files = [folder / str(number) for number in range(len(workloads))]
        self._rounds = rounds
        for file, workload in zip(self._files, workloads, strict=True):
            file.write_bytes(pack_ops(workload.ops))

    def peer(self) -> Iterator[Cell]:
        """What the C library takes, a cell a workload; its speed is 1 by definition."""
        for workload, file in zip(self.workloads, self._files, strict=True):
            yield cell_of(PEER, workload, {**self._run(NONE, file), "subject": [1], "peer": [1]})

    def row(self, spec: str, seconds: float) -> Iterator[Cell]:
        """One subject, a cell a workload, at most so many seconds each; SubjectError."""
        subject = resolve(spec)
        if missing := sorted(NEEDED - subject.has):
            raise SubjectError(f"{spec}: has no {missing[0]}, which the workloads call")
        for workload, file in zip(self.workloads, self._files, strict=True):
            if any(op.alignment for op in workload.ops) and "aligned_alloc" not in subject.has:
                yield Cell(spec, workload.name, error="has no aligned_alloc")
                continue
            arena = max(ARENA, 4 * workload.payload) if subject.contract.arena else 0
            yield cell_of(spec, workload, self._run(subject.library, file, arena, seconds))

    def _run(
        self, library: Path | str, file: Path, arena: int = 0, seconds: float = 0
    ) -> dict[str, Any]:
        words = [self._driver, library, file, str(arena), str(self._rounds), str(seconds)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if not done.stdout:
            raise SubjectError(f"the driver ended with status {done.returncode} on {library}")
        return json.loads(done.stdout)


def cell_of(name: str, workload: Workload, figures: dict[str, Any]) -> Cell:
    """What the driver's figures come to."""
    if error := figures.get("error"):
        return Cell(name, workload.name, error=error)
    speed = statistics.median(figures["peer"]) / statistics.median(figures["subject"])
    if not figures["heap"]:
        return Cell(name, workload.name, speed=speed)
    requests = figures.get("requests")
    return Cell(
        name,
        workload.name,
        figures["heap"] / workload.payload,
        speed,
        None if requests is None else 1000 * requests / len(workload.ops),
    )


# ---- telling ----


def memory_text(cell: Cell) -> str:
    """Heap over payload; why there is none, where it did not come to its end."""
    return cell.error or (NONE if cell.fragmentation is None else f"{cell.fragmentation:.2f}")


def speed_text(cell: Cell) -> str:
    """The ratio, with two digits that count."""
    return NONE if cell.speed is None else _short(cell.speed)


def pages_text(cell: Cell) -> str:
    """Calls in a thousand operations, with two digits that count."""
    return NONE if cell.requests is None else _short(cell.requests)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


TABLES = (
    ("Memory: heap over payload (1 is no overhead)", memory_text),
    ("Speed: operations a second over glibc's (2: twice as fast)", speed_text),
    ("Pages: calls of the page source in 1000 operations", pages_text),
)


Rows = dict[str, dict[str, str]]


def tables(
    cells: Sequence[Cell], workloads: Sequence[Workload]
) -> Iterator[tuple[str, list[str], Rows]]:
    """(title, workloads, rows), family by family: the texts by subject and workload."""
    for family in dict.fromkeys(workload.family for workload in workloads):
        names = [workload.name for workload in workloads if workload.family == family]
        for title, text in TABLES:
            rows: Rows = {}
            for cell in cells:
                if cell.workload in names:
                    rows.setdefault(cell.subject, {})[cell.workload] = text(cell)
            yield f"{title}; {family}", names, rows


def show(console: Console, cells: Sequence[Cell], workloads: Sequence[Workload]) -> None:
    """Prints the tables."""
    for title, names, rows in tables(cells, workloads):
        table = Table(title=title, box=SIMPLE, pad_edge=False)
        table.add_column(overflow="fold")
        for name in names:
            table.add_column(name, justify="right", overflow="fold", min_width=5)
        for subject, texts in rows.items():
            table.add_row(subject, *(texts.get(name, "") for name in names))
        console.print(table)


def markdown(cells: Sequence[Cell], workloads: Sequence[Workload]) -> str:
    """The tables as a section of a README, markers included."""
    lines = [BEGIN, "### Figures", "", *_INTRODUCTION, ""]
    lines += [f"- `{workload.name}`: {workload.story}" for workload in workloads]
    for title, names, rows in tables(cells, workloads):
        lines += ["", f"**{title}**", "", f"| | {' | '.join(names)} |"]
        lines.append(f"|---|{'---:|' * len(names)}")
        for subject, texts in rows.items():
            lines.append(f"| `{subject}` | {' | '.join(texts.get(name, '') for name in names)} |")
    return "\n".join([*lines, END])


_INTRODUCTION = (
    "Written by `python ci/bench_textbook.py --write`. Each cell is a heap that starts empty and",
    "lives through one workload. Memory is the most that the page source had granted at any time",
    "over the most that was requested and live; it and the third table are the same on each",
    "machine. (What glibc holds, mallinfo tells; it takes 132 KiB at a time.) Speed is a ratio to",
    "glibc in runs that took turns, medians of both: read its direction, not its digits. It is",
    "that of the allocators alone, pages cost nothing there; in life each call of the third table",
    "is a system call, and each new page a fault. `-`: the memory is not from a page source.",
)


def replaced(readme: str, section: str) -> str:
    """The text with `section` in place of what stands between the markers; ValueError."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"has no {BEGIN} ... {END}")
    return before + section + after


# ---- the command ----


def _number(kind: type, least: float, most: float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError
        return value  # type: ignore[no-any-return]

    convert.__name__ = f"{kind.__name__} from {least} to {most}"
    return convert


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES)
    it.add_argument("subjects", nargs="*", metavar="SUBJECT", help="bundled name, .c, .so or .toml")
    it.add_argument(
        "--ops",
        type=_number(int, 100, 10**6),
        default=20_000,
        help="operations of a generated workload (default: %(default)s)",
    )
    it.add_argument(
        "--rounds",
        type=_number(int, 1, 1000),
        default=15,
        help="pairs of runs a cell at most (default: %(default)s)",
    )
    it.add_argument(
        "--seconds",
        type=_number(float, 0.1, 10**6),
        default=60,
        help="for everything, slow first pairs left out (default: %(default)s)",
    )
    it.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    it.add_argument(
        "--write", action="store_true", help="write the tables into allocator/README.md"
    )
    return it


def measure(
    words: argparse.Namespace, workloads: Sequence[Workload], console: Console
) -> Iterator[Cell]:
    """The cells one by one, the peer's first; SubjectError."""
    specs = words.subjects or gallery()
    share = words.seconds / (len(specs) * len(workloads))
    with tempfile.TemporaryDirectory() as folder, console.status("building") as status:
        bench = Bench(workloads, Path(folder), words.rounds)
        yield from bench.peer()
        for number, spec in enumerate(specs, 1):
            if not console.is_terminal:
                console.print(f"{spec} ({number} of {len(specs)})", highlight=False)
            for cell in bench.row(spec, share):
                yield cell
                status.update(f"{spec} ({number} of {len(specs)}): {cell.workload}")


def exit_code(cells: Sequence[Cell]) -> int:
    """2 where a subject came to the end of no workload, else 0."""
    finished = {cell.subject for cell in cells if cell.error is None}
    return 2 if {cell.subject for cell in cells} - finished else 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    if words.write and words.subjects:
        parser().error("--write is for all of them: name no subject")
    cells: list[Cell] = []
    try:
        if words.write:
            replaced(GALLERY.read_text(), "")  # what is wrong there is told before the work
        workloads = [*generated(words.ops), *recorded()]
        code = _measured(words, workloads, cells)
        if words.write and not code:
            GALLERY.write_text(replaced(GALLERY.read_text(), markdown(cells, workloads)))
    except (SubjectError, TraceError, OSError, ValueError) as error:
        print(f"ci/bench_textbook.py: {error}", file=sys.stderr)
        code = 2
    if words.json:
        words.json.parent.mkdir(parents=True, exist_ok=True)
        words.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=2) + "\n")
    return code


def _measured(words: argparse.Namespace, workloads: list[Workload], cells: list[Cell]) -> int:
    """Measures, adding to `cells`, and prints; the exit status."""
    try:
        for cell in measure(words, workloads, Console(stderr=True)):
            cells.append(cell)
        code = exit_code(cells)
    except KeyboardInterrupt:
        print("interrupted: what was measured so far follows", file=sys.stderr)
        code = 130
    console = Console()
    show(console if console.is_terminal else Console(width=WIDE), cells, workloads)
    return code


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
