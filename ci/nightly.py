"""The nightly: every engine for long, each stage within its time, one page of what came of it.

It proposes: findings are artifacts in --out, a person commits them.  The engines do the work.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from allocator import ctrl_c
from allocator.command_line import Parser
from ci import history
from ci.junit import junit
from ci.outcomes import FINDING, OK, READERS, UNKNOWN, Row, read
from ci.sarif import sarif

GRACE_SECONDS = 60.0
TINY = 0.1  # a scale below which a stage takes a part of its subjects
TINY_SUBJECTS = ("explicit_list", "sbrk_list")
OF_ANY = ("fuzz", "proofs")  # the stages that take subjects of one's own
_EPILOG = """\
examples:
  python ci/nightly.py --dry-run                 what would be run, and for how long
  python ci/nightly.py                           the whole night, some hours
  python ci/nightly.py --only fuzz,proofs        two stages of it
  python ci/nightly.py --scale 0.01              a smoke test of everything, some minutes
  python ci/nightly.py mine.toml libmine.so      a search of these alone: a night of your own
  python ci/nightly.py mine.c --only fuzz,proofs   with proofs too, which need C

exit status: 0 clean; 1 something was found; 2 something could not run or is unknown; 130 Ctrl-C.
--out then holds summary.md, findings.sarif, junit.xml, and what each engine wrote."""


@dataclass(frozen=True)
class Stage:
    """A command with a time box in seconds; `tiny` are its words for a smoke test.

    `result` is the file in which it says what it found: without it status 1 is but an error.
    """

    name: str
    words: Sequence[object]
    result: str
    box: float
    tiny: Sequence[object] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    """How a stage ended: its exit status, None where its time was up."""

    stage: Stage
    status: int | None
    seconds: float


def stages(words: argparse.Namespace) -> list[Stage]:
    """All of them, in order."""
    out, scale = words.out, words.scale
    seconds = max(2.0, 600 * scale)
    fuzz = ["fuzz/run.py", "--seconds", f"{seconds:g}", "--seed", words.seed, "--jobs", words.jobs]
    fuzz += ["--out", out / "fuzz", "--json", out / "fuzz.json"]
    tests = ["-m", "pytest", "-n", words.jobs, "--dist", "loadfile"]
    tests += ["--junitxml", out / "pytest.xml", "-o", "junit_family=xunit2"]
    kill = ["ci/kill_table.py", "--out", out / "kill_table", "--jobs", words.jobs, "--resume"]
    quiet = ["--engines", "dense", "--cpu-seconds", "2", "--bugs", "--only", "copies-too-little"]
    nightly = {"ALLOCHECK_PROFILE": "dev" if scale < TINY else "nightly",
               "HYPOTHESIS_STORAGE_DIRECTORY": str(words.examples.resolve())}  # fmt: skip
    prove = ["proofs/run.py", "--json", out / "proofs.json"]
    bench = ["ci/bench.py", "--json", out / "bench.json"]
    programs = ["ci/real_programs.py", "--json", out / "real_programs.json"]
    textbook = ["ci/bench_textbook.py", "--json", out / "textbook.json"]
    few = ["--program", "sqlite"]
    own, quick = words.subjects, ["--quick", "--claim", "first.*"]
    look = quick if own else ["mmap_heap", *quick]
    return [
        Stage("fuzz", [*fuzz, *own], "fuzz.json", 4 * 3600, [] if own else TINY_SUBJECTS),
        Stage("tests", tests, "pytest.xml", 4 * 3600, ["tests/test_heap.py"], nightly),
        Stage("proofs", [*prove, *own], "proofs.json", 4 * 3600, look),
        Stage("kill_table", kill, "kill_table/kills.json", 4 * 3600, ["explicit_list", *quiet]),
        Stage("bench", bench, "bench.json", 1800, ["--runs", "200"]),
        Stage("real_programs", programs, "real_programs.json", 3600, ["bump", *few]),
        Stage("textbook", textbook, "textbook.json", 3600, ["bump", "--ops", "200"]),
    ]


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, __doc__, _EPILOG)
    it.add_argument("subjects", nargs="*", metavar="SUBJECT",
                    help="search these, not the bundled ones, and run no other stage, but for "
                    "proofs where --only names it")  # fmt: skip
    it.add_argument("--only", default="", metavar="STAGE,STAGE", help="these stages alone")
    it.add_argument("--scale", type=float, default=1.0, help="of every budget (default: 1)")
    it.add_argument("--dry-run", action="store_true", help="print the stages and stop")
    it.add_argument("--out", type=Path, default=Path("out/nightly"), help="default: %(default)s")
    it.add_argument("--history", type=Path, default=Path("out/history.jsonl"))
    it.add_argument("--examples", type=Path, default=Path("out/examples"),
                    help="Hypothesis's examples, kept from night to night")  # fmt: skip
    it.add_argument("--seed", type=int, default=int(time.strftime("%Y%m%d")), help="default: date")
    it.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    it.add_argument("--allow-unknown", action="store_true",
                    help="claims that are neither proved nor refuted do not count")  # fmt: skip
    return it


def chosen(words: argparse.Namespace) -> list[Stage]:
    """The stages that --only names, or all.  Raises ValueError."""
    every = stages(words)
    names = [name for name in words.only.split(",") if name] or ["fuzz"] * bool(words.subjects)
    unknown = set(names) - {stage.name for stage in every}
    if unknown:
        known = ", ".join(stage.name for stage in every)
        raise ValueError(f"no stage {', '.join(sorted(unknown))} (there are: {known})")
    foreign = [name for name in names if words.subjects and name not in OF_ANY]
    if foreign:
        raise ValueError(f"{foreign[0]} knows the bundled allocators alone: name no SUBJECT for it")
    if not 0 < words.scale <= 100 or words.jobs < 1:
        raise ValueError("--scale is above 0, and at most 100; --jobs is 1 or more")
    return [stage for stage in every if not names or stage.name in names]


def command(stage: Stage, scale: float) -> list[str]:
    """What is run for a stage."""
    extra = stage.tiny if scale < TINY else ()
    return [sys.executable, *map(str, (*stage.words, *extra))]


def box(stage: Stage, scale: float) -> float:
    """The seconds that a stage may take."""
    return max(120.0, stage.box * scale)


def run_stage(stage: Stage, words: argparse.Namespace) -> Ran:
    """Runs one; its output is kept in a log.  At its time's end it is interrupted as by Ctrl-C."""
    started = time.monotonic()
    (words.out / stage.result).unlink(missing_ok=True)  # not last night's
    with (words.out / f"{stage.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command(stage, words.scale),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **stage.environment},
            start_new_session=True,  # all of it can be ended
        )
        status = None
        try:
            status = process.wait(box(stage, words.scale))
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process)
    return Ran(stage, status, time.monotonic() - started)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts a stage that still runs, so that it writes what it has; then ends it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows_of(ran: Ran, out: Path) -> list[Row]:
    """What a stage has to say: what it wrote, and how it ended."""
    stage, result = ran.stage.name, out / ran.stage.result
    rows = read(stage, result) if stage in READERS else []
    if ran.status == 0:  # a quick look may be narrow
        rows = [replace(row, verdict=OK) if _is_narrow(row) else row for row in rows]
    found = any(row.verdict == FINDING for row in rows) if rows else result.is_file()
    meant = OK if ran.status == 0 else FINDING if ran.status == 1 and found else UNKNOWN
    if meant == UNKNOWN or not any(row.verdict == meant for row in rows):
        told = "its time was up" if ran.status is None else f"status {ran.status}"
        message = f"{told}; see {stage}.log"
        rows.append(Row(stage, "", "the stage", meant, message, seconds=ran.seconds))
    return rows


def status_of(rows: Sequence[Row], allow_unknown: bool) -> int:
    """1 for a finding, else 2 for what could not run or is unknown, else 0."""
    verdicts = {row.verdict for row in rows if not (allow_unknown and _open_claim(row))}
    return 1 if FINDING in verdicts else 2 if UNKNOWN in verdicts else 0


def _is_narrow(row: Row) -> bool:
    """A claim that holds within its bound, which does not come to all of the code."""
    return row.stage == "proofs" and row.message.endswith(": narrow")


def _open_claim(row: Row) -> bool:
    """A claim that is unknown or narrow, or the stage that ends with status 2 for it alone."""
    told = (": unknown", ": narrow", "status 2; see proofs.log")
    return row.stage == "proofs" and row.verdict == UNKNOWN and row.message.endswith(told)


def summary(rans: Sequence[Ran], rows: Sequence[Row], changes: Sequence[history.Change]) -> str:
    """The page, in Markdown that reads as text."""
    lines = ["# Nightly", "", "| stage | status | seconds | findings | unknown |"]
    lines.append("|---|---|---|---|---|")
    for ran in rans:
        own = [row.verdict for row in rows if row.stage == ran.stage.name]
        ended = "time was up" if ran.status is None else ran.status
        lines.append(f"| {ran.stage.name} | {ended} | {ran.seconds:.0f} | {own.count(FINDING)} "
                     f"| {own.count(UNKNOWN)} |")  # fmt: skip
    for title, verdict in (("Findings", FINDING), ("Unknown, or not run", UNKNOWN)):
        told = [row for row in rows if row.verdict == verdict]
        lines += ["", f"## {title}", "", *[_line(row) for row in told]] if told else []
    if changes:
        lines += ["", "## Benchmarks: today by the median of the last nights", ""]
        lines += ["| figure | today | median | ratio |", "|---|---|---|---|"]
        lines += [f"| {each.name} | {each.now:.3g} | {each.median:.3g} | {each.ratio:.2f}"
                  f"{' !' * each.notable} |" for each in changes]  # fmt: skip
    lines += ["", "A finding is an artifact: look at it, and commit its trace with a story."]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    of = f"{row.stage}: {row.subject or row.name}"
    rule = f" `{row.rule}`" if row.rule else ""
    file = f" ({row.file})" if row.file else ""
    return f"- {of}{rule}: {row.message}{file}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    words.out = words.out.resolve()
    try:
        wanted = chosen(words)
        if words.dry_run:
            for stage in wanted:
                line = " ".join(command(stage, words.scale)[1:])
                print(f"{stage.name:14} {box(stage, words.scale):6.0f} s  {line}")
            return 0
        words.out.mkdir(parents=True, exist_ok=True)
        return night(wanted, words)
    except (ValueError, OSError) as error:
        print(f"ci/nightly.py: {error}", file=sys.stderr)
        return 2


def night(wanted: Sequence[Stage], words: argparse.Namespace) -> int:
    """Runs the stages and writes the page; Ctrl-C leaves out what has not begun."""
    rans: list[Ran] = []
    rows: list[Row] = []
    interrupted = False
    try:
        for stage in wanted:
            print(f"{stage.name}: up to {box(stage, words.scale):.0f} s", flush=True)
            rans.append(run_stage(stage, words))
            rows += rows_of(rans[-1], words.out)
    except KeyboardInterrupt:
        interrupted = True
    changes = _note_figures(words, rans)
    page = summary(rans, rows, changes)
    (words.out / "summary.md").write_text(page)
    (words.out / "findings.sarif").write_text(sarif(rows, ROOT))
    (words.out / "junit.xml").write_text(junit(rows, [words.out / "pytest.xml"]))
    print(page)
    return 130 if interrupted else status_of(rows, words.allow_unknown)


def _note_figures(words: argparse.Namespace, rans: Sequence[Ran]) -> list[history.Change]:
    """Adds the benchmarks of this night to the history, and compares."""
    measured = any(ran.stage.name == "bench" and ran.status == 0 for ran in rans)
    if not measured or words.scale < TINY:  # figures of a few executions mean nothing
        return []
    now = history.figures_of(json.loads((words.out / "bench.json").read_text()))
    changes = history.compare(now, history.past(words.history))
    history.append(words.history, time.strftime("%Y-%m-%d"), now)
    return changes


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
