"""Campaigns by several workers: nothing that was reported is lost, whoever dies or stops.

Short ones, on planted bugs; whether two workers are faster, ci/bench_jobs.py measures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from allocator.catalogue import resolve
from fuzz import guided, run
from fuzz.corpus import Corpus, annotated, digest, program_in
from fuzz.crew import Crew, rest, shares
from fuzz.hands import LocalHands
from fuzz.ledger import BEGIN, END, FINDING, STINT, Ledger
from fuzz.limits import limits_of
from fuzz.native import decode, decode_all
from fuzz.options import Options
from fuzz.stint import Stint, StintDied, run_stint
from models.trace import from_text

ROOT = Path(__file__).resolve().parent.parent
BUG = "explicit_list+bugs/coalesce-forgets-unlink"
FOLDER = "explicit_list+bugs_coalesce-forgets-unlink"
LIMITS = limits_of(resolve("explicit_list")).pack()
PROGRAMS = [bytes((seed * 37 + n * n) % 256 for n in range(8 + 4 * 20)) for seed in range(6)]

needs_atheris = pytest.mark.skipif(not guided.available(), reason="atheris is not installed")


def options(tmp_path: Path, **changes: object) -> Options:
    quick = Options(runs=600, out=tmp_path, guided=False, saved=Path("nothing-saved"))
    return replace(quick, **changes)


def crew(tmp_path: Path, spec: str, hands: LocalHands, **changes: object) -> Crew:
    ledger = Ledger(tmp_path)
    if not ledger.session():
        ledger.add(BEGIN)
    return Crew(spec, options(tmp_path, **changes), hands=hands, ledger=ledger)


def fuzz(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "fuzz" / "run.py", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def hands():
    pair = LocalHands(2)
    yield pair
    pair.close()


# ---- the corpus ----


def test_a_trace_bears_the_bytes_that_mean_it(tmp_path):
    for program, trace in zip(PROGRAMS, decode_all(PROGRAMS, LIMITS), strict=True):
        text = annotated(trace, program)
        assert from_text(text) == trace
        assert program_in(text) == program
        assert f"{trace.ops[0]}" in text


def test_a_corpus_goes_to_programs_and_back(tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for number, program in enumerate(PROGRAMS):
        (programs / str(number)).write_bytes(program + b"xyz")  # a rest that means nothing
    corpus = Corpus(tmp_path / "corpus", LIMITS)
    assert sorted(corpus.absorb(programs)) == corpus.names()
    again = tmp_path / "again"
    assert Corpus(tmp_path / "corpus", LIMITS).unpack(again) == len(PROGRAMS)
    assert sorted(path.read_bytes() for path in again.iterdir()) == sorted(PROGRAMS)
    assert corpus.absorb(again) == []


def test_what_is_not_kept_goes(tmp_path):
    corpus = Corpus(tmp_path / "corpus", LIMITS)
    traces = decode_all(PROGRAMS, LIMITS)
    corpus.take(annotated(*pair) for pair in zip(traces, PROGRAMS, strict=True))
    corpus.unpack(tmp_path / "programs")
    kept = digest(traces[2])
    corpus.settle(tmp_path / "programs", frozenset({kept}))
    assert corpus.names() == [kept]
    assert not (tmp_path / "programs").exists()


def test_broken_entries_are_left_where_they_are(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    whole = annotated(decode(PROGRAMS[0], LIMITS), PROGRAMS[0])
    (folder / "whole.trace").write_text(whole)
    (folder / "cut.trace").write_text(whole[:100] + "p9 = mal")
    (folder / "noise.trace").write_bytes(b"\xff\xfe\x00")
    (folder / "by-hand.trace").write_text("p0 = malloc 24\nfree p0\n")
    changed = whole.replace("malloc", "malloc 7 #", 1)
    (folder / "changed.trace").write_text(changed)
    corpus = Corpus(folder, LIMITS)
    assert corpus.unpack(tmp_path / "programs") == 1
    assert [path.name for path in (tmp_path / "programs").iterdir()] == ["whole"]
    told = "\n".join(corpus.notes)
    assert "cut.trace: left out: line" in told
    assert "noise.trace: left out" in told
    assert "2 trace(s) whose bytes do not mean them" in told
    corpus.settle(tmp_path / "programs", frozenset())
    assert len(list(folder.iterdir())) == 4, "the useless one alone goes"


@needs_atheris
def test_minimising_keeps_what_is_covered(tmp_path):
    folder = tmp_path / "explicit_list" / "corpus"
    traces = decode_all(PROGRAMS, LIMITS)
    texts = [annotated(*pair) for pair in zip(traces, PROGRAMS, strict=True)]
    Corpus(tmp_path / "theirs", LIMITS).take(texts[3:])
    Corpus(folder, LIMITS).take([*texts[:3], texts[0].replace("# profile", "# twice\n# profile")])
    words = ("explicit_list", "--out", tmp_path, "--json", tmp_path / "r.json")
    first = fuzz(*words, "--minimise", "--merge", tmp_path / "theirs")
    assert first.returncode == 0, first.stderr
    assert "merged 3 new trace(s)" in first.stdout
    (one,) = json.loads((tmp_path / "r.json").read_text())["subjects"]
    kept = {path.name for path in folder.iterdir()}
    fuzz(*words, "--minimise")
    (two,) = json.loads((tmp_path / "r.json").read_text())["subjects"]
    assert one["edges"] == two["edges"] > 20
    assert {path.name for path in folder.iterdir()} == kept
    assert 1 <= len(kept) <= len(PROGRAMS)


# ---- the ledger ----


def test_a_line_cut_short_costs_nothing_else(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add(BEGIN, seed=1)
    ledger.add(FINDING, subject="a", trace="x")
    with ledger.path.open("a") as file:
        file.write('{"event": "finding", "subj')
    ledger.add(FINDING, subject="a", trace="y")
    assert [each["trace"] for each in ledger.of(FINDING, "a")] == ["x", "y"]
    ledger.add(BEGIN, seed=2)
    assert ledger.of(FINDING, "a") == []


# ---- stints ----


def test_the_budget_is_shared_out():
    parts = shares(Options(runs=100_000), 2, first=7)
    assert [part.runs for part in parts.values()] == [25_000] * 4
    assert list(parts) == [7, 8, 9, 10]
    assert len({part.seed for part in parts.values()}) == 4
    assert [part.seconds for part in shares(Options(seconds=50), 2).values()] == [50 / 3] * 6
    assert len(shares(Options(runs=1), 3)) == 3


def test_what_was_done_is_not_done_again_by_more_or_fewer_workers():
    stints = [{"runs": 25_000, "seconds": 0}] * 3
    assert rest(Options(runs=100_000), stints, 5).runs == 25_000
    assert rest(Options(runs=75_000), stints, 5) is None
    timed = [{"runs": 0, "seconds": 20}] * 4
    assert rest(Options(seconds=60), timed, 2).seconds == 20
    assert rest(Options(seconds=40), timed, 2) is None


def test_a_stint_that_is_stopped_brings_what_it_has(tmp_path):
    Ledger(tmp_path).add(BEGIN)
    stopped = threading.Event()
    stint = Stint(BUG, 0, options(tmp_path, runs=0, seconds=600, findings=99, part="-0"))
    threading.Thread(target=_set_once_found, args=(tmp_path, stopped), daemon=True).start()
    outcome = run_stint(stint, stopped)
    assert outcome.executions > 0
    noted = [event["trace"] for event in Ledger(tmp_path).of(FINDING, BUG)]
    assert outcome.findings == noted


def _set_once_found(folder: Path, stopped: threading.Event) -> None:
    deadline = time.monotonic() + 120
    while not Ledger(folder).of(FINDING, BUG) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    stopped.set()


def test_a_stint_that_cannot_start_says_why(tmp_path):
    with pytest.raises(StintDied, match="status 1: AttributeError"):
        run_stint(Stint("explicit_list", 0, options(tmp_path, out=None)))


# ---- crews ----


def test_a_crew_finds_each_rule_once_and_confirms_it(tmp_path, hands):
    result = crew(tmp_path, BUG, hands).run()
    assert result.verdict == "violation"
    rules = [report.finding.rule for report in result.reports]
    assert rules
    assert len(rules) == len(set(rules))
    ledger = Ledger(tmp_path)
    for report in result.reports:
        same = [
            len(from_text(event["trace"]))
            for event in ledger.of(FINDING, BUG)
            if from_text(event["trace"]).expect == report.finding.rule
        ]
        assert len(report.finding.trace) == min(same)
        assert report.trace_file.is_file()


def test_a_correct_allocator_stays_clean(tmp_path, hands):
    result = crew(tmp_path, "explicit_list", hands).run()
    assert (result.verdict, result.notes) == ("ok", [])
    assert result.executions >= 400
    assert result.policy["alignment"] == 16


def test_a_killed_worker_loses_nothing_reported(tmp_path, hands):
    """SIGKILL for a stint that has reported: its finding is there, its work is done again."""
    wanted = crew(tmp_path, BUG, hands, runs=0, seconds=6, findings=99)
    killed = []

    def kill_once_found(_text: str) -> None:
        events = Ledger(tmp_path).of(FINDING, BUG)
        if events and not killed:
            killed.append(_kill_a_stint())

    wanted.tell = kill_once_found
    result = wanted.run()
    assert killed, "there was a stint to be killed"
    assert any("died and was done again: status -9" in note for note in result.notes)
    found = {report.finding.rule for report in result.reports}
    noted = {from_text(event["trace"]).expect for event in Ledger(tmp_path).of(FINDING, BUG)}
    assert found == noted
    assert len(Ledger(tmp_path).of(STINT, BUG)) == 2


def _kill_a_stint() -> int:
    """Kills one of the stints that this process has started; its id."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=True,
    )
    stints = [line.split()[0] for line in listed.stdout.splitlines() if "stint.py" in line]
    os.kill(int(stints[0]), signal.SIGKILL)
    return int(stints[0])


def test_a_resumed_crew_does_not_do_its_stints_again(tmp_path, hands):
    first = crew(tmp_path, BUG, hands).run()
    again = crew(tmp_path, BUG, hands)
    again._stint = None  # nothing is handed out
    result = again.run()
    assert 0 < result.executions <= first.executions
    rules = {report.finding.rule for report in first.reports}
    assert {report.finding.rule for report in result.reports} == rules


# ---- the command ----


def test_a_crash_and_a_resumption(tmp_path):
    """SIGKILL for the whole command: --resume has its findings, and goes on."""
    words = [sys.executable, ROOT / "fuzz" / "run.py", BUG, "--seconds", "300", "--seed", "1"]
    words += ["--findings", "99", "--jobs", "2", "--no-guided", "--out", tmp_path]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not Ledger(tmp_path).of(FINDING, BUG) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait()
    noted = {from_text(event["trace"]).expect for event in Ledger(tmp_path).of(FINDING, BUG)}
    assert noted
    Ledger(tmp_path).add(END, subject=BUG, outcome={"number": -1, "executions": 7})
    done = fuzz("--resume", "--out", tmp_path, "--json", tmp_path / "r.json")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("seed 1\n")
    (subject,) = json.loads((tmp_path / "r.json").read_text())["subjects"]
    assert noted <= {found["rule"] for found in subject["findings"]}
    assert subject["executions"] == 7, "it had come to its end"


def test_control_c_with_several_workers_keeps_everything(tmp_path):
    words = [sys.executable, ROOT / "fuzz" / "run.py", BUG, "--seconds", "300", "--seed", "1"]
    words += ["--findings", "99", "--jobs", "2", "--out", tmp_path, "--json", tmp_path / "r.json"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not Ledger(tmp_path).of(FINDING, BUG) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume --out" in said.splitlines()[-1]
    (subject,) = json.loads((tmp_path / "r.json").read_text())["subjects"]
    noted = {from_text(event["trace"]).expect for event in Ledger(tmp_path).of(FINDING, BUG)}
    assert {found["rule"] for found in subject["findings"]} == noted
    assert not (tmp_path / FOLDER / "programs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume"], "no campaign to resume"),
        (["--jobs", "0"], "--jobs"),
        (["explicit_list", "--cluster", "tcp://127.0.0.1:1"], "no scheduler at tcp://127.0.0.1:1"),
        (["explicit_list", "--cluster", "nonsense:x"], "no scheduler at nonsense:x"),
        (["explicit_list", "--merge", "/nonexistent"], "/nonexistent: no such folder"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(tmp_path, words, said):
    done = fuzz(*words, "--out", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line


@pytest.mark.parametrize("phase", [["--no-guided"], ["--no-dense", "--jobs", "2"]])
def test_a_folder_that_cannot_be_written(tmp_path, phase):
    (tmp_path / "file").write_text("in the way")
    done = fuzz("explicit_list", "--runs", 50, *phase, "--out", tmp_path / "file" / "out")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "Not a directory" in line


def test_a_disk_that_fills_up_costs_no_finding(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x.trace"))

    monkeypatch.setattr("fuzz.findings.write", full)
    status = run.main([BUG, "--runs", "600", "--seed", "1", "--no-guided", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert status == 1
    assert "No space left on device" in told
    assert "   <-- " in told, "the whole report is printed"
