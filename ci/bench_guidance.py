"""Measures guidance: executions and CPU seconds until a planted bug is first seen, way by way.

It proves nothing about one seed or one bug; read the medians.  Each way is a part of what
fuzz/run.py does, with its program lengths: libFuzzer on C edges, with its own mutations of bytes
or with those of whole operations, with heap states counted or not; the dense generator alone; all
together.  Compiling, confirming and shrinking are not counted.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from allocator import own_python

own_python.need("rich")

from rich.console import Console
from rich.table import Table

from allocator import ctrl_c
from allocator.catalogue import bundled, planted_bugs, resolve
from allocator.command_line import Parser
from allocator.subject import SubjectError
from ci.killing.clock import Clock
from fuzz.bench import Bench
from fuzz.campaign import CONFIRMING, LENGTHS, Campaign, Options
from fuzz.guided import Guided, seed_corpus
from fuzz.job import SEARCH_CPU_MS, Job, Suspect
from fuzz.limits import limits_of, program_bytes
from fuzz.native import decoder_library, mutator_library

README = Path(__file__).resolve().parent.parent / "fuzz" / "README.md"
BEGIN, END = "<!-- guidance:begin -->", "<!-- guidance:end -->"
# The planted bugs that took `ci/kill_table.py --bugs --engines fuzz` the most executions, without
# those that only the exact model or repeated cycles show: no feedback leads there.
HARD = (
    "best_fit+bugs/extension-assumed",
    "best_fit+bugs/freed-region-is-read",
    "best_fit+bugs/state-not-looked-at",
    "buddy+bugs/spare-region-left-in-its-list",
    "explicit_list+bugs/aligned-slack-too-small",
    "explicit_list+bugs/copies-the-new-size",
    "explicit_list+bugs/swallowed-header-says-used",
    "first_fit+bugs/self-pointer-alone",
    "mmap_heap+bugs/merges-past-the-region",
    "sbrk_list+bugs/joins-across-a-gap",
    "tlsf+bugs/bit-cleared-too-early",
    "tlsf+bugs/swallowed-head-says-used",
)
CHUNK = 50

_EXAMPLES = """\
examples:
  python ci/bench_guidance.py                          the deep bugs and the hardest others
  python ci/bench_guidance.py --way operations --way all tlsf+bugs/bit-cleared-too-early
  python ci/bench_guidance.py --write                  ... and put the table into fuzz/README.md

exit status: 0 measured; 2 a subject or an option was wrong; 130 Ctrl-C (what was measured so far
is printed, and written with --json)."""


@dataclass(frozen=True)
class Kill:
    """One search: executions and CPU seconds to the first sight of the bug, or to the end."""

    subject: str
    way: str
    seed: int
    found: bool
    executions: int
    cpu: float


Search = Callable[[str, int, int], int | None]


def dense(spec: str, seed: int, runs: int) -> int | None:
    """Random dense programs and nothing else."""
    subject = resolve(spec)
    limits = limits_of(subject).dense().pack()
    with Bench(subject) as bench:
        executor, done = bench.executor, 0
        for turn in count():
            length = program_bytes(LENGTHS[turn % len(LENGTHS)])
            executor_seed = seed * 10**9 + turn * CHUNK
            ran = executor.search(executor_seed, min(CHUNK, runs - done), length, limits,
                                  cpu_limit_ms=SEARCH_CPU_MS)  # fmt: skip
            done += max(1, ran)
            run = executor.last_run()
            if run.suspicious and not bench.glance(executor.last_trace(), run).ok:
                return done
            if done >= runs:
                return None
    return None


def guided(operations: bool, states: bool) -> Search:
    """The coverage-guided search alone, the seeds of its corpus included."""

    def search(spec: str, seed: int, runs: int) -> int | None:
        subject = resolve(spec, coverage=True)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            seed_corpus(folder / "corpus", seed)
            job = Job(
                subject,
                limits_of(subject).pack(),
                decoder_library(),
                mutator_library() if operations else None,
                folder / "corpus",
                folder / "journal",
                runs=runs,
                seed=seed,
                states=states,
                stop_at_first=True,
            )
            search = Guided(job, folder / "log")
            with closing(search.run()) as messages:
                for message in messages:
                    if isinstance(message, Suspect):
                        return message.executions
                    return search.executions  # it died of a program: that is seen, too
        return None

    return search


class Seen(BaseException):
    """The campaign has seen the bug; not an Exception, lest it be taken for an error of ours."""


def everything(spec: str, seed: int, runs: int) -> int | None:
    """The default campaign, without the traces that were saved for these very bugs."""

    def tell(text: str) -> None:
        if CONFIRMING in text:
            raise Seen

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = Options(runs=runs, seed=seed, out=folder / "out", saved=folder / "nothing-saved")
        campaign = Campaign(spec, options, tell)
        try:
            result = campaign.run()
        except Seen:
            return max(1, campaign.result.executions)
        if result.error:
            raise SubjectError(result.error)
        return None


WAYS: dict[str, Search] = {
    "bytes": guided(False, False),
    "bytes + states": guided(False, True),
    "operations": guided(True, False),
    "operations + states": guided(True, True),
    "dense": dense,
    "all": everything,
}


def subjects() -> list[str]:
    """The planted bugs that take a long search, and the hardest of the others."""
    deep = [bug.subject for name in bundled() for bug in planted_bugs(name) if bug.deep]
    return [*deep, *HARD]


def measure(
    specs: Sequence[str], ways: Sequence[str], seeds: Sequence[int], runs: int
) -> Iterator[Kill]:
    """Every way on every subject, from each seed; SubjectError."""
    for spec in specs:
        for coverage in (False, True):
            resolve(spec, coverage=coverage)  # compiles before a clock runs
        for way in ways:
            for seed in seeds:
                clock = Clock(math.inf)
                seen = WAYS[way](spec, seed, runs)
                yield Kill(spec, way, seed, seen is not None, seen or runs, clock.elapsed)


# ---- what it says ----


class Figures:
    """Medians of kills; a search that found nothing counts with all that it spent."""

    def __init__(self, kills: Sequence[Kill]) -> None:
        self.kills = kills
        self.specs = list(dict.fromkeys(kill.subject for kill in kills))
        self.ways = list(dict.fromkeys(kill.way for kill in kills))

    def cell(self, spec: str, way: str) -> str:
        """Executions and CPU seconds: medians over the seeds; how many searches found nothing."""
        these = [kill for kill in self.kills if (kill.subject, kill.way) == (spec, way)]
        if not these:
            return ""
        missed = sum(not kill.found for kill in these)
        note = f", {missed} of {len(these)} not found" if missed else ""
        return f"{_told(*_medians(these))}{note}"

    def median(self, way: str) -> str:
        """The median over the subjects of their medians."""
        rows = [
            _medians([kill for kill in self.kills if (kill.subject, kill.way) == (spec, way)])
            for spec in self.specs
            if any((kill.subject, kill.way) == (spec, way) for kill in self.kills)
        ]
        return _told(*(statistics.median(column) for column in zip(*rows, strict=True)))

    def total(self, way: str) -> str:
        """How many of the searches found the bug, and what all of them took."""
        these = [kill for kill in self.kills if kill.way == way]
        cpu = sum(kill.cpu for kill in these)
        executions = sum(kill.executions for kill in these)
        found = sum(kill.found for kill in these)
        return f"{found} of {len(these)}; in all {executions:,} / {cpu:.0f} s"

    def rows(self) -> list[list[str]]:
        """The table: a row a subject, then the median and the total of each way."""
        rows = [[_short(spec), *(self.cell(spec, way) for way in self.ways)] for spec in self.specs]
        rows.append(["median", *map(self.median, self.ways)])
        rows.append(["found", *map(self.total, self.ways)])
        return rows


def _medians(kills: Sequence[Kill]) -> tuple[float, float]:
    return (
        statistics.median(kill.executions for kill in kills),
        statistics.median(kill.cpu for kill in kills),
    )


def _told(executions: float, cpu: float) -> str:
    return f"{executions:,.0f} / {cpu:.2f} s"


def _short(spec: str) -> str:
    return spec.replace("+bugs/", ": ")


def markdown(figures: Figures, seeds: int, runs: int) -> str:
    """The table as a section of a README, markers included."""
    head = ["bug", *figures.ways]
    lines = [
        BEGIN,
        f"Written by `python ci/bench_guidance.py --write --seeds {seeds} --runs {runs}`:",
        "executions and CPU seconds until the bug is first seen, medians over the seeds.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in figures.rows()),
        END,
    ]
    return "\n".join(lines)


def replaced(readme: str, section: str) -> str:
    """The text with `section` in place of what stands between the markers; ValueError."""
    before, begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} has no {BEGIN} ... {END}: put them where the table goes")
    return f"{before}{section}{after}"


def show(figures: Figures, console: Console) -> None:
    """Prints the table."""
    table = Table("bug", *figures.ways, title="executions / CPU seconds to the first sight")
    for row in figures.rows():
        table.add_row(*row)
    console.print(table)


# ---- the command ----


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, __doc__, _EXAMPLES)
    it.add_argument("subjects", nargs="*", help="default: the deep planted bugs and 12 others")
    it.add_argument("--seeds", type=int, default=5, help="searches a way (default: %(default)s)")
    it.add_argument("--first-seed", type=int, default=1, metavar="N",
                    help="and those behind it; tune on others than are reported")  # fmt: skip
    it.add_argument(
        "--runs", type=int, default=20_000, help="executions at most (default: %(default)s)"
    )
    it.add_argument("--way", action="append", choices=list(WAYS), help="default: all of them")
    it.add_argument("--json", type=Path, metavar="FILE", help="write every search as JSON")
    it.add_argument("--write", action="store_true", help="write the table into fuzz/README.md")
    return it


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    if min(words.seeds, words.first_seed, words.runs) < 1:
        parser().error("--seeds, --first-seed and --runs take numbers from 1 up")
    if words.write and (words.subjects or words.way or words.first_seed > 1):
        parser().error("--write is for the whole table: name no subject, no way and no seed")
    kills: list[Kill] = []
    code = 0
    try:
        replaced(README.read_text(), "")  # what is wrong there is told before the work
        ways = words.way or list(WAYS)
        seeds = range(words.first_seed, words.first_seed + words.seeds)
        for kill in measure(words.subjects or subjects(), ways, seeds, words.runs):
            kills.append(kill)
            said = "found" if kill.found else "not found"
            print(f"{kill.subject}  {kill.way}  seed {kill.seed}: {said}, "
                  f"{_told(kill.executions, kill.cpu)}", file=sys.stderr, flush=True)  # fmt: skip
        if words.write:
            section = markdown(Figures(kills), words.seeds, words.runs)
            README.write_text(replaced(README.read_text(), section))
    except (SubjectError, ValueError) as error:
        print(f"ci/bench_guidance.py: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted: what was measured so far follows", file=sys.stderr)
        code = 130
    if words.json:
        words.json.parent.mkdir(parents=True, exist_ok=True)
        words.json.write_text(json.dumps([asdict(kill) for kill in kills], indent=2) + "\n")
    if kills:
        console = Console()
        show(Figures(kills), console if console.is_terminal else Console(width=180))
    return code


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
