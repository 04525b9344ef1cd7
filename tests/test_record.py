"""Recorded traces of real programs: how they come about, and that every allocator replays them.

What a replay judges is the judge's business: here it must judge ok.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allocator import record
from allocator.catalogue import gallery, resolve
from allocator.record import Call
from fuzz.bench import Bench
from models.trace import ALLOCATING, NIL, Kind, Op, from_text
from tests.verdicts import demand_ok, demand_same_layout

ROOT = Path(__file__).resolve().parent.parent
RECORDED = sorted((ROOT / "tests" / "traces" / "recorded").glob("*.trace"))
MIB = 1 << 20


def command(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "allocator" / "record.py", *map(str, words)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


# The recorder -----------------------------------------------------------------------------------


def test_a_program_is_recorded_and_replays(tmp_path: Path) -> None:
    file, words = tmp_path / "sort.trace", ["sort", str(ROOT / "LICENSE")]
    done = command("-o", file, "--", *words)
    plain = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == plain.stdout
    assert done.returncode == 0
    trace = from_text(file.read_text())
    assert done.stderr.startswith(f"{file}: {len(trace)} operations")
    assert len(trace) > 20
    assert trace.expect == "ok"
    replay = [sys.executable, ROOT / "fuzz" / "run.py", "tlsf", "--replay", file]
    seen = subprocess.run(replay, capture_output=True, text=True, timeout=240, check=False)
    assert "tlsf: expected ok, seen ok: as expected" in seen.stdout
    assert seen.returncode == 0


def test_all_threads_are_recorded(tmp_path: Path) -> None:
    file = tmp_path / "threads.trace"
    script = """
import threading
steps = [threading.Event() for _ in range(4)]
def work(which):
    kept = [bytes(600 + i) for i in range(20)]
    steps[which].set()
    steps[which ^ 1].wait()
threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    words = ["-o", file, "--", sys.executable, "-S", "-c", script]
    assert command(*words, PYTHONMALLOC="malloc").returncode == 0
    trace = from_text(file.read_text())
    assert {op.first for op in trace if op.kind is Kind.THREAD} == {0, 1, 2, 3, 4}
    assert ", 5 threads." in trace.comments[0]


@pytest.mark.parametrize(("script", "status"), [("kill -9 $$", 137), ("kill -11 $$", 139)])
def test_what_was_recorded_survives_the_program(tmp_path: Path, script: str, status: int) -> None:
    file = tmp_path / "dead.trace"
    assert command("-o", file, "--", "sh", "-c", script).returncode == status
    assert len(from_text(file.read_text())) > 5


def test_children_are_not_followed_but_a_replacement_is(tmp_path: Path) -> None:
    """The shell's child leaves no trace; the program that takes its place starts anew."""
    lone, shell = tmp_path / "lone.trace", tmp_path / "shell.trace"
    assert command("-o", lone, "--", "ls", "/").returncode == 0
    assert command("-o", shell, "--", "sh", "-c", "ls / >&2; exec ls /").returncode == 0
    assert from_text(shell.read_text()).ops == from_text(lone.read_text()).ops


def test_the_limit_is_kept_and_told(tmp_path: Path) -> None:
    file = tmp_path / "short.trace"
    done = command("-o", file, "--limit", 50, "--", "ls", "/")
    assert done.returncode == 0
    assert re.search(r": 50 operations; left out: \d+ over the limit", done.stderr)
    assert len(from_text(file.read_text())) == 50


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "no-such-program"], "no-such-program: no such program"),
        ([], "which program?"),
        (["--limit", "0", "--", "ls"], "--limit"),
        (["--limit", "many", "--", "ls"], "--limit"),
        (["--nonsense", "--", "ls"], "--nonsense"),
        (["-o", "/nonsense/x.trace", "--", "ls"], "/nonsense/x.trace"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("allocator/record.py: ")
    assert said in line


# From calls to operations -----------------------------------------------------------------------

M, C, R, A, F = Kind.MALLOC, Kind.CALLOC, Kind.REALLOC, Kind.POSIX_MEMALIGN, Kind.FREE


def ops_of(*calls: Call) -> tuple[list[str], str]:
    """The operations in words, and what is left out."""
    naming = record.Naming()
    ops = [str(op) for op in naming.ops(calls)]
    return ops, str(naming.left_out)


def test_addresses_become_names() -> None:
    ops, left_out = ops_of(
        Call(M, 0, 24, 0, 0x1000),
        Call(C, 0, 4, 16, 0x2000),
        Call(F, 0, 0x1000, 0, 0),
        Call(A, 0, 64, 100, 0x1000),
        Call(R, 0, 0x1000, 200, 0x3000),
        Call(R, 0, 0, 8, 0x1000),
        Call(F, 0, 0x3000, 0, 0),
        Call(F, 0, 0, 0, 0),
    )
    assert ops == [
        "p0 = malloc 24",
        "p1 = calloc 4 16",
        "free p0",
        "p2 = posix_memalign 64 100",
        "p3 = realloc p2 200",
        "p4 = realloc NULL 8",
        "free p3",
        "free NULL",
    ]
    assert left_out == ""


def test_a_thread_is_named_where_it_goes_on() -> None:
    calls = [Call(M, thread, 8, 0, 0x1000 * n) for n, thread in enumerate((0, 0, 2, 2, 0), 1)]
    assert [line for line in ops_of(*calls)[0] if "=" not in line] == ["thread 2", "thread 0"]


def test_what_did_not_happen_is_left_out() -> None:
    ops, left_out = ops_of(
        Call(M, 0, 24, 0, 0x1000),
        Call(M, 0, NIL, 0, 0),
        Call(R, 0, 0x1000, NIL, 0),
        Call(F, 0, 0x9000, 0, 0),
        Call(R, 0, 0x9000, 5, 0x8000),
        Call(F, 0, 0x1000, 0, 0),
    )
    assert ops == ["p0 = malloc 24", "free p0"]
    assert left_out == "2 failed, 2 with an unknown block"


def test_realloc_to_nothing_frees() -> None:
    ops, left_out = ops_of(Call(M, 0, 24, 0, 0x1000), Call(R, 0, 0x1000, 0, 0))
    assert (ops, left_out) == (["p0 = malloc 24", "free p0"], "")


def test_the_store_is_as_large_as_needed() -> None:
    small = [Op(M, name, MIB) for name in range(3)]
    assert record.store_needed(small) == 0
    freed = [each for op in small for each in (op, Op(F, first=op.name))]
    assert record.store_needed([*freed, Op(M, 9, 20 * MIB)]) == 64 * MIB
    assert record.store_needed([Op(M, 0, 1 << 40)]) == record.MOST_STORE


# The recorded traces that are kept --------------------------------------------------------------


@pytest.mark.parametrize("name", gallery())
def test_every_allocator_replays_them(name: str) -> None:
    """With the layout that the exact model has at the end, and with blocks for what was asked."""
    with Bench(resolve(name)) as bench:
        for path in RECORDED:
            trace = from_text(path.read_text())
            run = demand_ok(bench, trace)
            demand_same_layout(bench, trace, run)
            if not bench.subject.contract.arena:
                asked = (pair for pair in zip(trace, run.observations, strict=True))
                assert all(seen.address for op, seen in asked if op.kind in ALLOCATING), path.name


def test_those_kept_are_of_several_kinds() -> None:
    texts = {path.stem: path.read_text() for path in RECORDED}
    assert len(texts) >= 5
    assert all(len(text) < 300_000 for text in texts.values())
    words = set(" ".join(texts.values()).split())
    assert {"malloc", "calloc", "realloc", "free", "thread", "NULL"} <= words


def test_those_kept_name_no_machine() -> None:
    """Programs are named without their folders, and nothing else comes from the machine."""
    for path in RECORDED:
        trace = from_text(path.read_text())
        (comment,) = trace.comments
        assert re.fullmatch(r"Recorded: [\w-]+, \d+ threads?\.", comment)
