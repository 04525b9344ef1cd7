"""Measures speed, as ratios against a named peer in the same run; `python ci/bench.py --help`.

It asserts nothing: machines are noisy, so a figure is read, not tested.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import typer
from rich.console import Console
from rich.table import Table

from allocator import build, catalogue
from allocator.executor import Executor, open_executor
from allocator.region import Region
from allocator.subject import Subject
from models.judge import judge
from models.trace import Kind, Op, Trace

CI = Path(__file__).resolve().parent
REPEATS = 200
OPS = 16_000
RUNS = 20_000
ROUNDS = 3


def mixed_trace(live: int, sizes: range, seed: int = 1) -> Trace:
    """OPS operations, `live` blocks at most: 45 % malloc, 45 % free, 5 % realloc, 5 % calloc."""
    return Trace(tuple(_mixed_ops(random.Random(seed), live, sizes)))


def _mixed_ops(source: random.Random, most: int, sizes: range) -> Iterator[Op]:
    live: list[int] = []
    for name in range(OPS):
        choice = source.random()
        victim = source.randrange(len(live)) if live else 0
        if live and (len(live) >= most or choice < 0.45):
            live[victim], live[-1] = live[-1], live[victim]
            yield Op(Kind.FREE, first=live.pop())
        elif live and choice < 0.5:
            yield Op(Kind.REALLOC, name, live[victim], source.choice(sizes))
            live[victim] = name
        else:
            clear = choice < 0.55
            size = source.choice(sizes)
            yield Op(Kind.CALLOC, name, 1, size) if clear else Op(Kind.MALLOC, name, size)
            live.append(name)


def native_rates(subject: Subject, trace: Trace) -> dict[str, float]:
    """Operations a second in one batch call, checked and bare, by ci/bench_batch.c."""
    flags = (*build.harness_flags(), f"-I{build.HARNESS}")
    sources = [*build.executor_sources(), CI / "bench_batch.c"]
    objects = [build.compile_object(build.Unit(source, flags, CI)) for source in sources]
    program = build.link("bench_batch", objects, ["-ldl", "-lpthread"], suffix="")
    region = Region(OPS, subject.contract, memory_known=True)
    region.write_trace(trace, "none", 60_000)
    with tempfile.NamedTemporaryFile() as file:
        file.write(region.memory[:])
        file.flush()
        words = [program, subject.library, file.name, str(REPEATS)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def python_rate(executor: Executor, trace: Trace) -> float:
    """Operations a second when Python calls the subject once an operation."""
    executor.begin()
    start = time.perf_counter()
    for op in trace.ops[:4000]:
        executor.step(op)
    return 4000 / (time.perf_counter() - start)


def judge_rate(executor: Executor, subject: Subject, trace: Trace) -> float:
    """Operations a second that the Python judge gets through."""
    run = executor.run(trace, cpu_limit_ms=10_000)
    start = time.perf_counter()
    judge(trace, run, subject.contract)
    return len(trace) / (time.perf_counter() - start)


def batch(console: Console) -> list[dict[str, object]]:
    """Checked operations a second of one batch call, on traces of several shapes."""
    subject = catalogue.resolve("explicit_list")
    table = Table("trace", "checked Mops/s", "bare Mops/s", "checked : bare", "ns the check adds")
    rows: list[dict[str, object]] = []
    for live, largest in ((4, 64), (16, 64), (64, 64), (256, 64), (64, 1024)):
        name = f"{live} live, up to {largest} bytes"
        rate = native_rates(subject, mixed_trace(live, range(1, largest + 1)))
        added = 1e9 / rate["checked"] - 1e9 / rate["bare"]
        checked, bare = rate["checked"] / 1e6, rate["bare"] / 1e6
        table.add_row(
            name, f"{checked:.1f}", f"{bare:.1f}", f"{checked / bare:.2f}", f"{added:.0f}"
        )
        rows.append({"trace": name, **rate})
    console.print(table)
    trace = mixed_trace(64, range(1, 65))
    with open_executor(subject) as executor:
        stepped, judged = python_rate(executor, trace), judge_rate(executor, subject, trace)
    console.print(f"one call an operation from Python: {stepped / 1e6:.3f} Mops/s")
    console.print(f"the Python judge alone: {judged / 1e6:.3f} Mops/s")
    rows += [{"trace": "stepped", "checked": stepped}, {"trace": "judged", "checked": judged}]
    return rows


def driver_seconds(mode: str, program: Path, runs: int) -> float:
    """CPU seconds of one bench_driver.py."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, CI / "bench_driver.py", mode, program, str(runs)]
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def drivers(console: Console, runs: int) -> list[dict[str, object]]:
    """Executions a second: the Python callback of fuzz/worker.py against libFuzzer calling C."""
    table = Table("program", "C callback us", "Python callback us", "Python : C")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for length in (64, 256, 1024):
            program = Path(folder, "program")
            program.write_bytes(random.Random(length).randbytes(length))
            costs = [
                (driver_cost("native", program, runs), driver_cost("python", program, runs))
                for _ in range(ROUNDS)
            ]
            cost = dict(zip(("native", "python"), map(min, zip(*costs, strict=True)), strict=True))
            ratio = cost["python"] / cost["native"]
            native, python = (f"{1e6 * cost[mode]:.1f}" for mode in ("native", "python"))
            table.add_row(f"{length} bytes", native, python, f"{ratio:.2f}")
            rows.append({"bytes": length, **cost})
    console.print(table)
    return rows


def driver_cost(mode: str, program: Path, runs: int) -> float:
    """CPU seconds an execution: what many runs take beyond what one takes."""
    return (driver_seconds(mode, program, runs) - driver_seconds(mode, program, 1)) / (runs - 1)


def main(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
    runs: Annotated[int, typer.Option(min=100, help="Executions of a program.")] = RUNS,
) -> None:
    """Speed on explicit_list: the checked batch call beside the bare allocator, and a program under
    libFuzzer with a callback in Python beside one in C; each pair in the same run."""
    console = Console()
    figures = {"batch": batch(console), "drivers": drivers(console, runs)}
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))


APP = typer.Typer(add_completion=False)
APP.command(
    epilog="examples: python ci/bench.py; python ci/bench.py --json bench.json for a machine"
)(main)

if __name__ == "__main__":
    APP()
