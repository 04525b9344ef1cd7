"""Measures what a second worker is worth: wall time until a campaign's corpus covers so much.

It asserts nothing.  Each program of the corpus bears the time at which it was found; run once more
in that order they say when which edges were reached.  The target is what every campaign reached;
the clock starts with the first find, so that starting the processes is left out.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from allocator import own_python

own_python.need("typer")

import typer
from rich.console import Console
from rich.table import Table

from allocator.catalogue import resolve
from allocator.executor import InProcess
from fuzz import crew
from fuzz.corpus import Corpus
from fuzz.hands import LocalHands
from fuzz.job import STATE_COUNTERS, Job
from fuzz.ledger import BEGIN, Ledger
from fuzz.native import decoder_library
from fuzz.options import Options
from fuzz.worker import HOW_OFTEN, RUN_CAPACITY, WHETHER, Coverage


@dataclass
class Curve:
    """(seconds, features seen by then), rising; a feature is a C edge hit so often, or a state."""

    points: list[tuple[float, int]]
    executions: int
    seconds: float

    @property
    def last(self) -> int:
        """What was reached in the end."""
        return self.points[-1][1] if self.points else 0

    def reaches(self, target: int) -> float:
        """Seconds until `target` features were seen."""
        return next(seconds for seconds, seen in self.points if seen >= target)


class Timed(crew.Crew):
    """A campaign that is measured where it would be surveyed."""

    curve: Curve | None = None

    def _share_out(self, corpus: Corpus) -> None:
        self._started = time.monotonic()
        super()._share_out(corpus)

    def _survey(self, job: Job) -> None:
        seconds = time.monotonic() - self._started
        self.curve = Curve(curve(self.spec, job), self.result.executions, seconds)


def campaign(spec: str, jobs: int, options: Options) -> Curve:
    """A guided search by so many workers, and its curve."""
    hands = LocalHands(jobs)
    with tempfile.TemporaryDirectory() as name:
        options = replace(options, out=Path(name))
        ledger = Ledger(options.out)
        ledger.add(BEGIN)
        timed = Timed(spec, options, hands=hands, ledger=ledger)
        result = timed.run()
        hands.close()
    if timed.curve is None:
        raise SystemExit(result.line())
    return timed.curve


def curve(spec: str, job: Job) -> list[tuple[float, int]]:
    """What the programs cover, in the order in which they were found."""
    subject = resolve(spec, coverage=True)
    executor = InProcess(subject, decoder_library(), RUN_CAPACITY)
    executor.set_limits(job.limits)
    executor.region.write_request(0, 0, "end", 1000)
    executor.state_counters(STATE_COUNTERS)
    edges, states = Coverage(HOW_OFTEN), Coverage(WHETHER)
    files = sorted((path.stat().st_mtime, path) for path in job.corpus.iterdir())
    started = min(found for found, path in files if not path.name.startswith("seed-"))
    points = []
    for found, path in files:
        executor.run_bytes(path.read_bytes())
        seen = executor.counters()
        news = edges.add(seen[0]), states.add(seen[1])
        if any(news):
            points.append((max(0.0, found - started), edges.features() + states.features()))
    executor.close()
    return points


def main(
    subject: Annotated[str, typer.Argument(help="with much to cover")] = "tlsf",
    seconds: Annotated[float, typer.Option(help="of each campaign")] = 30.0,
    runs: Annotated[int, typer.Option(help="executions of each campaign, instead")] = 0,
    repeats: Annotated[int, typer.Option(help="campaigns of each kind, in turn")] = 5,
    jobs: Annotated[int, typer.Option(help="to compare with one")] = 2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
) -> None:
    """Wall time of one worker and of several to the same coverage; medians over campaigns."""
    curves: dict[int, list[Curve]] = {1: [], jobs: []}
    for seed in range(1, repeats + 1):
        for count, made in curves.items():
            options = Options(
                seconds=0 if runs else seconds, runs=runs, seed=seed, saved=Path("nothing"),
                dense=False, cycles=False,
            )  # fmt: skip
            made.append(campaign(subject, count, options))
            last = made[-1]
            print(f"seed {seed}, {count} worker(s): {last.executions:,} executions, "
                  f"{last.last:,} features, {last.seconds:.1f} s",
                  file=sys.stderr, flush=True)  # fmt: skip
    rows = compared(curves, jobs)
    told(rows, jobs)
    if json_file:
        json_file.write_text(json.dumps({"subject": subject, "jobs": jobs, "rows": rows}, indent=2))


def compared(curves: dict[int, list[Curve]], jobs: int) -> list[dict[str, float | str]]:
    """A row for each target that all campaigns reached, and for what each did as a whole."""
    most = min(each.last for made in curves.values() for each in made)
    rows: list[dict[str, float | str]] = []

    def add(what: str, one: float, several: float) -> None:
        rows.append({"what": what, "one": one, "several": several, "ratio": several / one})

    def middle(count: int, of: Callable[[Curve], float]) -> float:
        return statistics.median(map(of, curves[count]))

    for share in (0.9, 0.95, 1.0):
        target = int(most * share)
        times = [middle(count, lambda each, t=target: each.reaches(t)) for count in (1, jobs)]
        add(f"seconds to {target:,} features", *times)
    add("features at the end", *(middle(n, lambda each: each.last) for n in (1, jobs)))
    rates = (middle(n, lambda each: each.seconds / each.executions * 1e3) for n in (1, jobs))
    add("ms an execution", *rates)
    add("seconds in all", *(middle(n, lambda each: each.seconds) for n in (1, jobs)))
    return rows


def told(rows: list[dict[str, float | str]], jobs: int) -> None:
    """Prints the rows."""
    table = Table("", "1 worker", f"{jobs} workers", f"{jobs} : 1")
    for row in rows:
        figures = (f"{row[name]:,.2f}" for name in ("one", "several", "ratio"))
        table.add_row(str(row["what"]), *figures)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
