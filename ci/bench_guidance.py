"""Measures guidance: how many executions pass before a planted bug is first seen, by way of search.

It proves nothing about one seed; take the medians.  The ways: random dense programs, random
programs of every kind, and libFuzzer's search on neither, on C edges, on heap states, on both.
Programs are equally long in every way: long ones hold many chances, and would hide the difference.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.console import Console
from rich.table import Table

from allocator.catalogue import bundled, planted_bugs, resolve
from fuzz.bench import Bench
from fuzz.campaign import program_bytes
from fuzz.guided import Guided, seed_corpus
from fuzz.job import Job, Suspect
from fuzz.limits import Limits, limits_of
from fuzz.native import decoder_library, mutator_library

Way = Callable[[str, int, int, int], int | None]


def random_way(dense: bool) -> Way:
    """Executions until a random program breaks a rule, None where none does."""

    def search(spec: str, seed: int, runs: int, length: int) -> int | None:
        subject = resolve(spec)
        limits = limits_of(subject)
        with Bench(subject) as bench:
            chosen = limits.dense() if dense else limits
            return _first(bench, chosen, seed, runs, program_bytes(length))

    return search


def _first(bench: Bench, limits: Limits, seed: int, runs: int, length: int) -> int | None:
    executor, done = bench.executor, 0
    while done < runs:
        done += max(1, executor.search(seed * 10**9 + done, min(100, runs - done), length,
                                       limits.pack()))  # fmt: skip
        run = executor.last_run()
        if run.suspicious and not bench.glance(executor.last_trace(), run).ok:
            return done
    return None


def guided_way(edges: bool, states: bool) -> Way:
    """The same for the coverage-guided search, seeds of the corpus included."""

    def search(spec: str, seed: int, runs: int, length: int) -> int | None:
        subject = resolve(spec, coverage=edges)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            seed_corpus(folder / "corpus", seed)
            job = Job(
                subject,
                limits_of(subject).pack(),
                decoder_library(),
                mutator_library(),
                folder / "corpus",
                folder / "journal",
                runs=runs,
                seed=seed,
                states=states,
                stop_at_first=True,
                max_program=program_bytes(length),
            )
            with closing(Guided(job, folder / "log").run()) as messages:
                for message in messages:
                    if isinstance(message, Suspect):
                        return message.executions
        return None

    return search


WAYS = {
    "dense": random_way(True),
    "every kind": random_way(False),
    "neither": guided_way(False, False),
    "edges": guided_way(True, False),
    "states": guided_way(False, True),
    "edges + states": guided_way(True, True),
}


def deep_bugs() -> list[str]:
    """The planted bugs that take a long search."""
    return [
        f"{name}+bugs/{bug.name}" for name in bundled() for bug in planted_bugs(name) if bug.deep
    ]


def told(counts: list[int | None], runs: int) -> str:
    """The median, the extremes, and how many searches found nothing."""
    known = sorted(runs if each is None else each for each in counts)
    missed = sum(each is None for each in counts)
    middle = f"{statistics.median(known):,.0f}"
    text = f"{middle} ({known[0]:,} .. {known[-1]:,})"
    return f"{text}, {missed} of {len(counts)} not found" if missed else text


def main() -> int:
    """Prints a table of executions to the first kill: median, least and most over the seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python ci/bench_guidance.py tlsf+bugs/BUG --runs 50000 --seeds 3",
    )
    parser.add_argument("subjects", nargs="*", help="default: every planted bug marked deep")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=200_000, help="executions at most")
    parser.add_argument("--length", type=int, default=64, help="operations a program at most")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="default: all")
    words = parser.parse_args()
    table = Table("subject", *(words.way or WAYS))
    for spec in words.subjects or deep_bugs():
        row = []
        for way in words.way or WAYS:
            counts = [
                WAYS[way](spec, seed, words.runs, words.length)
                for seed in range(1, words.seeds + 1)
            ]
            row.append(told(counts, words.runs))
            print(f"{spec}  {way}: {row[-1]}", file=sys.stderr, flush=True)
        table.add_row(spec.partition("+bugs/")[2] or spec, *row)
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
