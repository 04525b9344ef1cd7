"""Measures what comes between two traces: memory put back, against a process for each run.

It asserts nothing: read the ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import typer
from rich.console import Console
from rich.table import Table

from allocator import build, catalogue, sandbox
from allocator.region import DEFAULT_STORE, PREBUILT_STORE, Region
from allocator.subject import Subject, SubjectError
from models.trace import Trace, from_text

CI = Path(__file__).resolve().parent
CAPACITY = 64
SUBJECTS = ("explicit_list", "tlsf", "best_fit", "bump", "tests/subjects/states/static.c",
            "libmimalloc.so.2.0", "libjemalloc.so.2", "libtcmalloc_minimal.so.4")  # fmt: skip
SHORT = from_text("p0 = malloc 24\np1 = malloc 100\nfree p0\np2 = malloc 3000\n")


def program() -> Path:
    """The compiled bench_restore.c."""
    flags = (*build.harness_flags(), "-fvisibility=hidden", f"-I{build.HARNESS}")
    sources = [*build.executor_sources(), CI / "bench_restore.c", build.HARNESS / "cov_stub.c"]
    objects = [build.compile_object(build.Unit(source, flags, CI)) for source in sources]
    return build.link("bench_restore", objects, ["-rdynamic", "-ldl", "-lpthread"], suffix="")


def microseconds(subject: Subject, trace: Trace, seconds: float) -> dict[str, float]:
    """Of CPU time: a run of the trace, restored and forked, the restore included."""
    store = PREBUILT_STORE if subject.prebuilt else DEFAULT_STORE
    region = Region(CAPACITY, subject.contract, subject.memory_known, store=store)
    region.write_trace(trace, "none", 60_000)
    with tempfile.NamedTemporaryFile() as file:
        file.write(region.memory[:])
        file.flush()
        words = [program(), subject.library, file.name, str(seconds * 1e6)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, env=sandbox.environment()
        )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def main(
    subjects: Annotated[list[str] | None, typer.Argument(help="bundled names, .c, .so")] = None,
    seconds: Annotated[float, typer.Option(help="of CPU time for each figure")] = 0.2,
    json_file: Annotated[Path | None, typer.Option("--json", help="write figures here")] = None,
) -> None:
    """An empty trace is the restore itself, with the guard around it; a short one has four
    operations, whose pages a restore then has to clear."""
    console = Console()
    table = Table("subject", "empty, us", "forked, us", "ratio", "short, us", "forked, us", "ratio")
    rows = []
    for name in subjects or SUBJECTS:
        try:
            subject = catalogue.resolve(name)
        except SubjectError as error:
            console.print(f"left out: {error}")
            continue
        row, cells = {"subject": name}, [name]
        for kind, trace in (("empty", Trace(())), ("short", SHORT)):
            told = microseconds(subject, trace, seconds)
            row |= {f"{kind}_{how}": value for how, value in told.items()}
            both = told["restored"], told["forked"]
            cells += [f"{both[0]:.1f}", f"{both[1]:.0f}", f"{both[1] / both[0]:.0f}"]
        rows.append(row)
        table.add_row(*cells)
    console.print(table)
    if json_file:
        json_file.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
