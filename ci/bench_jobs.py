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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import typer
from rich.console import Console
from rich.table import Table

from allocator.catalogue import resolve
from allocator.executor import InProcess
from fuzz import crew, guided_phase
from fuzz.hands import LocalHands
from fuzz.job import STATE_COUNTERS
from fuzz.ledger import BEGIN, Ledger
from fuzz.limits import limits_of
from fuzz.native import decoder_library
from fuzz.options import Options
from fuzz.worker import HOW_OFTEN, RUN_CAPACITY, WHETHER, Coverage


@dataclass
class Curve:
    """(seconds, features seen by then), rising; a feature is a C edge hit so often, or a state."""

    points: list[tuple[float, int]]
    executions: int

    @property
    def last(self) -> int:
        """What was reached in the end."""
        return self.points[-1][1] if self.points else 0

    def reaches(self, target: int) -> float:
        """Seconds until `target` features were seen."""
        return next(seconds for seconds, seen in self.points if seen >= target)


def campaign(spec: str, jobs: int, seconds: float, seed: int) -> Curve:
    """A guided search by so many workers, and its curve."""
    with tempfile.TemporaryDirectory() as name:
        options = Options(
            seconds=seconds, seed=seed, out=Path(name), saved=Path("nothing"), dense=False,
            cycles=False,
        )  # fmt: skip
        hands = LocalHands(jobs)
        Ledger(options.out).add(BEGIN)
        found: list[Curve] = []

        class Timed(crew.Crew):
            def _survey(self, job: guided_phase.Job) -> None:
                found.append(Curve(curve(spec, job), self.result.executions))

        Timed(spec, options, hands=hands, ledger=Ledger(options.out)).run()
        hands.close()
        return found[0]


def curve(spec: str, job: guided_phase.Job) -> list[tuple[float, int]]:
    """What the programs cover, in the order in which they were found."""
    subject = resolve(spec, coverage=True)
    executor = InProcess(subject, decoder_library(), RUN_CAPACITY)
    executor.set_limits(limits_of(subject).pack() if not job.limits else job.limits)
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
    seconds: Annotated[float, typer.Option(help="of each campaign")] = 20.0,
    repeats: Annotated[int, typer.Option(help="campaigns of each kind, in turn")] = 5,
    jobs: Annotated[int, typer.Option(help="to compare with one")] = 2,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
) -> None:
    """Wall time of one worker and of several to the same coverage; medians over campaigns."""
    console = Console()
    curves: dict[int, list[Curve]] = {1: [], jobs: []}
    for seed in range(1, repeats + 1):
        for count, made in curves.items():
            made.append(campaign(subject, count, seconds, seed))
            last = made[-1]
            print(f"seed {seed}, {count} worker(s): {last.executions:,} executions, "
                  f"{last.last:,} features", file=sys.stderr, flush=True)  # fmt: skip
    most = min(each.last for made in curves.values() for each in made)
    table = Table("features", "1 worker, s", f"{jobs} workers, s", f"{jobs} : 1")
    rows = []
    for share in (0.9, 0.95, 1.0):
        target = int(most * share)
        times = {
            n: statistics.median(c.reaches(target) for c in made) for n, made in curves.items()
        }
        ratio = times[jobs] / times[1]
        table.add_row(f"{target:,}", f"{times[1]:.1f}", f"{times[jobs]:.1f}", f"{ratio:.2f}")
        rows.append({"features": target, "one": times[1], "several": times[jobs], "ratio": ratio})
    done = {n: statistics.median(c.executions for c in made) for n, made in curves.items()}
    console.print(table)
    print(f"executions in {seconds:g} s: {done[1]:,.0f} and {done[jobs]:,.0f}, "
          f"{done[jobs] / done[1]:.2f} : 1")  # fmt: skip
    if json_file:
        json_file.write_text(json.dumps({"subject": subject, "jobs": jobs, "rows": rows}, indent=2))


if __name__ == "__main__":
    typer.run(main)
