"""Does a correct allocator ever break a rule?  Long campaigns on those taken to be correct.

See --help.  The command line and its tables; ci/correct_run.py does the work on one of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from allocator import own_python

    own_python.need("rich")

from rich.console import Console

from allocator import ctrl_c
from allocator.catalogue import gallery, threaded
from allocator.command_line import Parser
from ci.correct_run import Row, examine, real_bugs
from models.rules import RULES
from models.trace import THREADS

DISTRIBUTION = ("libc.so.6", "libjemalloc.so.2", "libmimalloc.so.2.0", "libtcmalloc_minimal.so.4")
DOCUMENT = Path(__file__).with_name("FALSE_ALARMS.md")
BEGIN, END = "<!-- false_alarms.py writes from here -->", "<!-- to here -->"

_DESCRIPTION = """\
Runs the whole campaign of fuzz/run.py, turn after turn with new seeds, on allocators that are
taken to be correct: all bundled ones, the C library's, and three of the distribution.  A finding
is either our mistake or theirs; ci/real_bugs.toml has those that were traced to theirs.  They are
told all the same."""

_EXAMPLES = """\
examples:
  apt-get install -y libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4     what Debian 12 calls them
  python ci/false_alarms.py                                all, 100 million operations together
  python ci/false_alarms.py libc.so.6 tlsf --operations 2  two million on these
  python ci/false_alarms.py --threads 3 --operations 10 libc.so.6 explicit_list+locked
                                                           and threads that run freely
  python ci/false_alarms.py --write                        the tables go into ci/FALSE_ALARMS.md

exit status: 0 every finding is a known bug of theirs; 1 one is not; 2 a subject could not be run;
130 Ctrl-C (what was done so far is printed)."""


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES)
    it.add_argument("subjects", nargs="*", metavar="SUBJECT", help="bundled name, .so, .c or .toml")
    it.add_argument("--operations", type=_millions, default=100.0, metavar="M",
                    help="millions, of all subjects together (default: 100)")  # fmt: skip
    it.add_argument("--threads", type=_threads, default=0, metavar="N",
                    help="so many run freely besides, where threads are promised; a .so or .c "
                    "is taken to promise them (default: none)")  # fmt: skip
    it.add_argument("--seed", type=_positive, default=1, help="default: 1")
    it.add_argument("--jobs", type=_positive, default=2, help="subjects at once (default: 2)")
    it.add_argument("--out", type=Path, default=Path("out/false_alarms"),
                    help="default: %(default)s")  # fmt: skip
    it.add_argument("--write", action="store_true", help=f"put the tables into ci/{DOCUMENT.name}")
    return it


def _positive(text: str) -> int:
    if not 0 < int(text) < 2**31:
        raise ValueError
    return int(text)


def _threads(text: str) -> int:
    if int(text) not in (0, *range(2, THREADS + 1)):
        raise argparse.ArgumentTypeError(f"{text}: 2 to {THREADS} threads, or 0")
    return int(text)


def _millions(text: str) -> float:
    if not 0 < float(text) < 1e6:
        raise ValueError
    return float(text)


def run(names: Sequence[str], words: argparse.Namespace, console: Console) -> list[Row]:
    """A row for each subject; after Ctrl-C for those that were done."""
    share = int(words.operations * 1e6 / len(names))
    rows: dict[str, Row] = {}
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(words.jobs, mp_context=context) as pool:
        waiting = {
            pool.submit(examine, name, share, words.seed, words.out / name.replace("/", "_"),
                        words.threads): name for name in names
        }  # fmt: skip
        try:
            for done in as_completed(waiting):
                rows[waiting[done]] = done.result()
                console.print(line(done.result()), markup=False, highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise Interrupted([rows[name] for name in names if name in rows]) from None
    return [rows[name] for name in names]


class Interrupted(Exception):
    """Ctrl-C; `rows` are those of the subjects that were done."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.rows = rows


# ---- the tables ----


def line(row: Row) -> str:
    """A subject in one line."""
    if row.error:
        return f"{row.name}: could not be run: {row.error}"
    rules = ", ".join(each["rule"] + (" (known)" if each["evidence"] else "")
                      for each in row.findings)  # fmt: skip
    raced = f", {row.raced:,} by free-running threads" if row.raced else ""
    return f"{row.name}: {rules or 'no finding'} ({row.operations:,} operations{raced})"


def _policy(row: Row) -> str:
    policy = row.policy
    said = [f"aligned to {policy.get('alignment', 0)}", f"usable from {policy['smallest_usable']}"]
    for name, told in (("malloc_zero", "malloc(0)"), ("realloc_zero", "realloc(p, 0)"),
                       ("failures", "errno")):  # fmt: skip
        seen = policy.get(name) or {}
        said += [f"{told}: {', '.join(sorted(seen))}"] if seen else []
    said += ["free keeps errno" if policy.get("free_keeps_errno") else "free writes errno"]
    return "; ".join(said)


def _skipped(row: Row) -> str:
    reasons: dict[str, list[str]] = {}
    for what, why in (row.off | row.skipped).items():
        reasons.setdefault(why, []).append(what)
    return "; ".join(f"{', '.join(what)}: {why}" for why, what in reasons.items()) or "nothing"


def markdown(rows: Sequence[Row], seed: int, threads: int = 0) -> str:
    """All tables."""
    total, raced = sum(row.operations for row in rows), sum(row.raced for row in rows)
    command = f"python ci/false_alarms.py --write --seed {seed}"
    command += f" --threads {threads}" if threads else ""
    also = f"and {raced:,} by threads that ran freely, " if raced else ""
    told = [f"`{command}`: {total:,} operations, {also}"
            f"{sum(len(row.unexplained) for row in rows)} unexplained findings.", "",
            "| subject | operations | raced | rules on | findings | observed policy |",
            "|---|---:|---:|---:|---|---|"]  # fmt: skip
    for row in rows:
        found = "; ".join(dict.fromkeys(
            f"{each['rule']}: {'theirs' if each['evidence'] else 'UNEXPLAINED'}"
            for each in row.findings
        ))  # fmt: skip
        what = row.error or found or "none"
        policy = _policy(row) if row.policy else ""
        told.append(f"| `{row.name}` | {row.operations:,} | {row.raced:,} | {len(row.rules_on)} "
                    f"| {what} | {policy} |")  # fmt: skip
    told += [
        "",
        "**What was skipped, and why**",
        "",
        "| subject | rules and functions |",
        "|---|---|",
    ]
    told += [f"| `{row.name}` | {_skipped(row)} |" for row in rows]
    told += ["", "**How often each rule was exercised**: occasions in a sample of "
             f"{sum(row.sampled for row in rows):,} operations.", ""]  # fmt: skip
    told += ["| rule | on in | occasions | fewest in a subject |", "|---|---:|---:|---|"]
    for rule in RULES:
        counts = {row.name: row.occasions[rule] for row in rows if rule in row.occasions}
        if counts:
            least = min(counts, key=lambda name: counts[name])
            told.append(f"| `{rule}` | {len(counts)} | {sum(counts.values()):,} "
                        f"| {counts[least]:,} (`{least}`) |")  # fmt: skip
    told += ["", "**Real bugs found**", "", "| allocator | rule | shortest program | evidence |",
             "|---|---|---|---|"]  # fmt: skip
    for bug in real_bugs():
        program = "; ".join(bug["trace"].strip().splitlines())
        told.append(f"| {bug['version']} | `{bug['rule']}` | `{program}` | {bug['evidence']} |")
    return "\n".join(told)


def write(text: str, file: Path = DOCUMENT) -> None:
    """Puts the tables between the marks of the document."""
    whole = file.read_text()
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{file.name}: the marks are gone")
    file.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def status(rows: Sequence[Row]) -> int:
    """1 for a finding that nobody has explained, else 2 for a subject that did not run."""
    if any(row.unexplained for row in rows):
        return 1
    return 2 if any(row.error for row in rows) or not rows else 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    locked = threaded() if words.threads else []
    names = words.subjects or [*gallery(), *locked, *DISTRIBUTION]
    interrupted = False
    try:
        rows = run(names, words, Console(stderr=True))
    except Interrupted as stopped:
        rows, interrupted = stopped.rows, True
    text = markdown(rows, words.seed, words.threads)
    words.out.mkdir(parents=True, exist_ok=True)
    document = {"schema": 1, "tool": "false_alarms", "seed": words.seed,
                "subjects": [asdict(row) for row in rows]}  # fmt: skip
    (words.out / "false_alarms.json").write_text(json.dumps(document, indent=1) + "\n")
    print(text)
    for row in rows:
        for each in row.unexplained:
            print(f"\n{row.name}: {each['message']}\n{each['trace']}")
    if words.write and not interrupted:
        write(text)
    return 130 if interrupted else status(rows)


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
