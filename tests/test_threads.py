"""Traces with threads: one operation at a time, all at once, under ThreadSanitizer.

What a race does is chance: each planted one has many programs, and the correct subjects the same.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from allocator import catalogue, tsan
from allocator.executor import open_executor
from fuzz.bench import Bench
from fuzz.campaign import Campaign
from fuzz.dedicated import dedicated
from fuzz.limits import limits_of, program_bytes
from fuzz.options import Options
from fuzz.race_phase import shared_out
from models.check import check
from models.contract import Contract
from models.judging.free_running import judge_race
from models.observation import Observation, Outcome, Run, Seen, Stage
from models.race import check_race, laps, look
from models.rules import ALL
from models.shrink import shrink
from models.trace import Kind, Trace, from_text, to_text
from models.verdict import Verdict
from tests.threaded import BUGS, CACHED, THREADS, bug, plant

ROOT = Path(__file__).resolve().parent.parent
NIGHTLY = settings.default.max_examples > 1000
PROGRAMS = 200  # of which each planted race must show in one
CLEAN = 400 if NIGHTLY else 6
HARM = {"overlap", "content", "crash", "hang", "usable", "prefix", "zeroed", "free_list", "tiling",
        "tags", "adjacent_free", "abort", "alignment", "bounds", "misuse"}  # fmt: skip
RACES = sorted(name for name in BUGS if bug(name).rule == "overlap" or name == "opposite-order")
INSTALLED = ("libc.so.6", "libjemalloc.so.2", "libmimalloc.so.2.0", "libtcmalloc_minimal.so.4")
IN_TURN = """\
p0 = malloc 8
thread 1
p1 = malloc 8
thread 0
p2 = malloc 8
thread 1
p3 = malloc 8
"""


# ---- one operation at a time ----


@pytest.mark.parametrize("sandbox", [True, False])
def test_each_operation_runs_on_its_thread(sandbox: bool) -> None:
    """The subject takes blocks from an area of the thread that asks."""
    with open_executor(catalogue.resolve(str(THREADS / "local.toml")), sandbox=sandbox) as executor:
        runs = [executor.run(from_text(IN_TURN)) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2], "thread-local variables start anew in each run"
    first, second, third, fourth = (seen.address for seen in runs[0].observations if seen.address)
    assert (third - first, fourth - second) == (16, 16)
    assert abs(second - first) >= 4096


def test_a_thread_ends_as_the_subject_wants_it() -> None:
    """Its key's destructor gives the area back: so the block in it is gone."""
    trace = from_text("thread 1\np0 = malloc 8\nend_thread 1\np1 = malloc 8\nwrite p0\n")
    with Bench(catalogue.resolve(str(THREADS / "local.toml"))) as bench:
        verdict = bench.judge(trace, bench.execute(trace))
    assert verdict.rule in ("bounds", "content", "overlap", "crash")


def test_single_steps_run_on_their_threads_too() -> None:
    subject = catalogue.resolve(str(THREADS / "local.toml"))
    with open_executor(subject, sandbox=True) as executor:
        whole = executor.run(from_text(IN_TURN))
        executor.begin()
        steps = [executor.step(op) for op in from_text(IN_TURN)]
        executor.end()
    assert tuple(steps) == whole.observations


def test_without_the_promise_a_thread_is_skipped() -> None:
    trace = from_text("thread 1\np0 = malloc 8\nend_thread 1\n")
    with Bench(catalogue.resolve("explicit_list")) as bench:
        run = bench.execute(trace)
        assert bench.judge(trace, run).ok
    assert [bool(seen.flags & Seen.SKIPPED) for seen in run.observations] == [True, False, True]


def test_a_thread_beyond_the_last_is_skipped() -> None:
    trace = from_text("thread 16\np0 = malloc 8\nend_thread 3\nend_thread 0\n")
    with Bench(catalogue.resolve("explicit_list+locked")) as bench:
        run = bench.execute(trace)
    assert [bool(seen.flags & Seen.SKIPPED) for seen in run.observations] == [1, 0, 1, 1]


@pytest.mark.parametrize("spec", ["explicit_list+locked", str(CACHED)])
def test_programs_with_threads_break_nothing(spec: str) -> None:
    """The exact model, where there is one, predicts every address whatever thread asks."""
    subject = catalogue.resolve(spec)
    limits, threads = limits_of(subject).dense().pack(), 0
    with Bench(subject) as bench:
        for seed in range(8):
            bench.executor.search(seed, 1, program_bytes(64), limits)
            trace = bench.executor.last_trace()
            threads += sum(op.kind is Kind.THREAD for op in trace)
            verdict = bench.judge(trace, bench.execute(trace))
            assert verdict.ok, verdict.violation
        in_turn = replace(handed(trace, subject, 1), free_running=False)
        for each in dedicated(in_turn, subject):
            verdict = bench.glance(each, bench.execute(each))
            assert verdict.ok, verdict.violation
    assert threads > 2


def test_a_lock_that_is_kept_is_a_hang_of_the_next(tmp_path: Path) -> None:
    trace = from_text("deny 1\np0 = malloc 3000\nthread 1\np1 = malloc 3000\n")
    with Bench(catalogue.resolve(str(plant("lock-kept-when-refused", tmp_path)))) as bench:
        violation = bench.judge(trace, bench.execute(trace)).violation
    assert violation
    assert (violation.rule, violation.op) == ("hang", 3)
    assert "waits and does not come back" in violation.message


def test_the_cache_of_a_dead_thread_is_lost(tmp_path: Path) -> None:
    trace = from_text("thread 1\np0 = malloc 100\nfree p0\nend_thread 1\n")
    subject = catalogue.resolve(str(plant("cache-of-a-dead-thread-lost", tmp_path)))
    with Bench(subject) as bench, Bench(catalogue.resolve(str(CACHED))) as correct:
        rules = {bench.judge(each, bench.execute(each)).rule for each in dedicated(trace, subject)}
        for each in dedicated(trace, subject):
            assert correct.judge(each, correct.execute(each)).ok
    assert rules & {"reclaim", "footprint"}


def test_the_shrinker_merges_threads() -> None:
    text = "thread 3\np0 = malloc 8\nthread 2\nfree p0\nend_thread 3\n"

    def fails(trace: Trace) -> bool:
        numbers = [op.first for op in trace if op.kind is Kind.THREAD]
        return len(set(numbers)) == 2

    small = shrink(from_text(text), fails)
    assert to_text(small).split("\n")[1:] == ["thread 0", "thread 1", ""]


# ---- all at once ----


def handed(trace: Trace, subject: catalogue.Subject, seed: int) -> Trace:
    return shared_out(trace, random.Random(seed), 3, subject)


def programs(bench: Bench) -> Iterator[tuple[int, Trace]]:
    """Seeds, and programs shared out among three threads."""
    limits = limits_of(bench.subject).dense().pack()
    for seed in count(1):
        bench.executor.search(seed, 1, program_bytes((12, 24, 64)[seed % 3]), limits)
        yield seed, handed(bench.executor.last_trace(), bench.subject, seed)


def raced(bench: Bench, most: int) -> tuple[int, Trace, Verdict]:
    """The first program that shows something, or the last one."""
    for seed, trace in programs(bench):
        verdict, _ = look(trace, bench.race, bench.subject.contract, ALL, seed=seed)
        if not verdict.ok or seed == most:
            return seed, trace, verdict
    raise AssertionError


@pytest.mark.parametrize("name", RACES)
def test_a_planted_race_is_found(name: str, tmp_path: Path) -> None:
    spec = str(plant(name, tmp_path))
    with Bench(catalogue.resolve(spec), noisy=catalogue.resolve(spec, noise=True)) as bench:
        seed, trace, verdict = raced(bench, PROGRAMS)
        assert verdict.rule in HARM, seed
        finding = bench.check_race(trace, seed=seed, budget=0)
    if finding:  # a rare one may keep away
        assert finding.rule in HARM
        assert finding.shown
        assert finding.trace.free_running


@pytest.mark.parametrize("spec", ["explicit_list+locked", str(CACHED)])
def test_a_correct_subject_shows_nothing(spec: str) -> None:
    noisy = catalogue.resolve(spec, noise=True)
    with Bench(catalogue.resolve(spec), noisy=noisy) as bench:
        _, _, verdict = raced(bench, CLEAN)
        assert verdict.ok, verdict.violation


@pytest.mark.parametrize("name", INSTALLED if NIGHTLY else INSTALLED[:1])
def test_nor_does_one_that_the_world_uses(name: str) -> None:
    folders = [folder for folder in catalogue.SYSTEM_FOLDERS if (folder / name).is_file()]
    if not folders:
        pytest.skip("not installed")
    with Bench(catalogue.resolve(name, threads=True)) as bench:
        _, _, verdict = raced(bench, CLEAN)
        assert verdict.ok, verdict.violation


def test_a_campaign_finds_names_and_keeps_it(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    options = Options(runs=4000, seed=3, out=tmp_path / "out", saved=nothing, dense=False,
                      cycles=False, guided=False, findings=1)  # fmt: skip
    result = Campaign(str(plant("realloc-without-lock", tmp_path)), options).run()
    assert result.verdict == "violation", result.error
    (report,) = result.reports
    assert report.trace_file
    assert "# schedule: free-running" in report.trace_file.read_text()
    assert "check_race" in report.test_file.read_text()
    assert report.reproducer.is_file()


# ---- the judge of what ran at once ----

TWO = from_text("p0 = malloc 16\nthread 1\np1 = malloc 16\nfree p0\n")
BACK = int(Seen.RETURNED | Seen.BEGUN)


def seen_as(*stamps: tuple[int, int], **more: object) -> Run:
    """p0 and p1 at the same place: (released, granted) stamps of the four operations."""
    places = (4096, 0, 4096, 0)
    seen = tuple(
        Observation(address, 16, released << 32 | granted, 0, BACK)
        for address, (released, granted) in zip(places, stamps, strict=True)
    )
    return Run(seen, suspicious=True, done=4, **more)


def test_two_that_were_live_at_once_overlap() -> None:
    at_once = seen_as((0, 1), (0, 0), (0, 2), (3, 0))
    assert judge_race(TWO, at_once, Contract(threads=True)).rule == "overlap"


def test_one_after_the_other_they_do_not() -> None:
    in_turn = seen_as((0, 1), (0, 0), (0, 3), (2, 0))
    assert judge_race(TWO, in_turn, Contract(threads=True)).ok


def test_a_hang_names_all_that_wait() -> None:
    run = seen_as((0, 1), (0, 0), (0, 0), (2, 0), outcome=Outcome.HANG, signal=9,
                  stage=Stage.CALL)  # fmt: skip
    waiting = replace(run.observations[2], address=0, flags=int(Seen.BEGUN))
    run = replace(run, observations=(*run.observations[:2], waiting, run.observations[3]))
    verdict = judge_race(TWO, run, Contract(threads=True))
    assert (verdict.rule, verdict.violation.op) == ("hang", 2)


def test_time_that_went_nowhere_is_no_hang() -> None:
    run = seen_as((0, 1), (0, 0), (0, 3), (2, 0), outcome=Outcome.HANG, stage=Stage.CALL)
    assert judge_race(TWO, run, Contract(threads=True)).ok


def test_a_short_trace_runs_in_laps_and_is_told_as_it_is() -> None:
    laid = laps(TWO)
    assert len(laid.trace) > 1000
    last = len(laid.trace) - 1

    def race(trace: Trace, **_: object) -> Run:
        seen = [Observation(flags=BACK)] * len(trace)
        seen[last] = Observation(flags=BACK | Seen.LEFT)
        return Run(tuple(seen), outcome=Outcome.SIGNAL, signal=11, suspicious=True, done=last,
                   stage=Stage.CALL)  # fmt: skip

    verdict, run = look(TWO, race, Contract(threads=True), ALL, seed=2)
    assert (verdict.rule, verdict.violation.op) == ("crash", 3)
    assert "op 3 on thread 1 (free p0): SIGSEGV" in verdict.violation.message
    assert len(run.observations) == len(TWO)


def test_what_never_shows_again_is_no_finding() -> None:
    def never(trace: Trace, **_: object) -> Run:
        return Run((Observation(flags=BACK),) * len(trace), done=len(trace))

    assert check_race(TWO, never, Contract(threads=True)) is None


def test_a_finding_says_how_often_it_showed() -> None:
    turns = count()

    def sometimes(trace: Trace, **_: object) -> Run:
        run = seen_as((0, 1), (0, 0), (0, 2), (3, 0))
        whole = (Observation(flags=BACK), *run.observations)  # thread 0 begins each lap
        return replace(run, observations=whole, suspicious=bool(next(turns) % 2))

    finding = check_race(TWO, sometimes, Contract(threads=True), budget=0, seed=1)
    assert finding
    assert finding.shown == (5, 10)
    assert finding.rule == "overlap"


def test_the_schedule_is_part_of_the_file() -> None:
    trace = replace(TWO, free_running=True)
    assert from_text(to_text(trace)) == trace
    assert not from_text(to_text(TWO)).free_running


# ---- ThreadSanitizer ----

TOLD = """\
==================
WARNING: ThreadSanitizer: data race (pid=1)
  Read of size 8 at 0x55 by thread T2:
    #0 memset ../../src/libsanitizer/tsan/interceptors.cpp:77 (libtsan.so.2+0x5e)
    #1 count /src/pool.c:12 (pool+0x11d7)

  Previous atomic write of size 4 at 0x55 by main thread:
    #0 count /src/pool.c:14:5 (pool+0x11e8)

SUMMARY: ThreadSanitizer: data race /src/pool.c:12 in count
==================
"""


def test_a_report_becomes_a_sentence() -> None:
    assert tsan.sentence(TOLD) == (
        "nothing orders a read of 8 bytes in count (pool.c:12), "
        "and a atomic write of 4 bytes in count (pool.c:14)"
    )
    assert tsan.sentence("all is well") == ""


def test_the_sanitizer_is_not_asked_for_what_no_machine_has() -> None:
    text = "p0 = malloc 8\np1 = calloc 65536 65536\np2 = realloc p0 SIZE_MAX\nfree p1\n"
    ops = [tsan.modest(op) for op in from_text(text + "p3 = malloc 4294967296\n")]
    assert [str(op) for op in ops] == [
        "p0 = malloc 8", "p1 = calloc 1 4194304", "p2 = realloc p0 4194304", "free p1",
        "p3 = malloc 4194304",
    ]  # fmt: skip


@pytest.mark.skipif(not any(map(shutil.which, tsan.COMPILERS)), reason="no gcc, no clang")
def test_a_counter_without_atomics_is_a_race(tmp_path: Path) -> None:
    trace = from_text("p0 = malloc 8\nthread 1\np1 = malloc 8\nfree p0\nthread 2\nfree p1\n")
    wrong = catalogue.resolve(str(plant("counter-without-atomics", tmp_path)))
    for subject, rule in ((wrong, "race"), (catalogue.resolve(str(CACHED)), "ok")):
        with Bench(subject) as bench:
            bench.sanitize()
            verdict, _ = look(trace, bench.sanitized, subject.contract, ALL, seed=1)
        assert verdict.rule == rule
        if rule == "race":
            assert "cached.c:" in verdict.violation.message


# ---- the command ----


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["explicit_list", "--threads", "3"], "does not promise threads (of the bundled: "),
        (["explicit_list", "--threads", "17"], "0 to 16 threads"),
        (["tests/subjects/pool.toml", "--threads", "2"], "say threads = true there"),
    ],
)
def test_a_promise_that_nobody_gave_is_asked_for(words: list[str], told: str) -> None:
    command = [sys.executable, "fuzz/run.py", *words, "--runs", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stdout + done.stderr


def test_check_knows_deterministic_threads(tmp_path: Path) -> None:
    """The ordinary pipeline confirms and shrinks a trace with threads."""
    trace = from_text(
        "thread 2\np0 = malloc 8\nthread 1\np1 = malloc 100\nend_thread 1\nwrite p1\n"
    )
    subject = catalogue.resolve(str(THREADS / "local.toml"))
    with Bench(subject) as bench:
        finding = check(trace, bench.execute, subject.contract, execute_fresh=bench.execute_fresh)
    assert finding
    assert [str(op) for op in finding.trace] == ["thread 1", "p0 = malloc 1"]
