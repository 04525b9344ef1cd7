"""The command: what it prints, writes and ends with."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from allocator import own_python
from fuzz import run
from fuzz.replay import expectation
from fuzz.results import Result
from models.trace import Trace, from_text

ROOT = Path(__file__).resolve().parent.parent
BUG = "explicit_list+bugs/clears-without-tail"
TRACE = "p0 = malloc 64\nwrite p0\nfree p0\np1 = calloc 1 63\n"


def fuzz(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "fuzz" / "run.py", *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_clean_run(tmp_path):
    file = tmp_path / "result.json"
    done = fuzz("explicit_list", "--runs", 1500, "--seed", 7, "--out", tmp_path, "--json", file)
    assert done.returncode == 0, done.stdout
    first, *_, line, heap, meaning = done.stdout.splitlines()
    assert first == "seed 7"
    assert line.startswith("explicit_list: ok (")
    assert re.fullmatch(r"  \[[#.X!]{40}\]", heap)
    assert meaning == run.MEANING
    document = json.loads(file.read_text())
    assert (document["schema"], document["tool"], document["seed"]) == (1, "fuzz", 7)
    (subject,) = document["subjects"]
    keys = "name verdict error executions ops seconds edges states policy rules_on findings"
    assert set(keys.split()) <= set(subject)
    assert subject["executions"] > 1000
    assert subject["findings"] == []
    assert "model" in subject["rules_on"]


def test_a_finding_is_reported_written_and_replays(tmp_path):
    file = tmp_path / "result.json"
    words = ["--runs", 600, "--seed", 1, "--no-guided", "--out", tmp_path, "--json", file]
    done = fuzz(BUG, *words)
    assert done.returncode == 1, done.stdout
    assert f"{BUG}: violation: zeroed" in done.stdout
    (found,) = json.loads(file.read_text())["subjects"][0]["findings"]
    assert found["rule"] == "zeroed"
    assert found["ops"] == len(from_text(found["trace"])) <= 5
    trace = tmp_path / found["trace_file"]
    assert (tmp_path / found["reproducer"]).is_file()
    again = fuzz("--replay", trace)
    assert again.returncode == 1
    assert f"{BUG}: expected zeroed, seen zeroed: as expected" in again.stdout
    sound = fuzz("explicit_list", "--replay", trace)
    assert sound.returncode == 0
    assert "explicit_list: expected ok, seen ok: as expected" in sound.stdout


def test_any_python_will_do():
    """One without our packages hands over to that of `make setup`, or says that it is not there."""
    command = [sys.executable, "-S", ROOT / "fuzz" / "run.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if own_python.OWN.exists():
        assert done.returncode == 0, done.stderr
        assert "examples:" in done.stdout
    else:
        assert done.returncode == own_python.CANNOT_RUN
        assert "make setup" in done.stderr


def test_a_draft_is_offered_and_kept(tmp_path):
    """Where functions cannot be told for certain: a description to fill in, never written over."""
    source = tmp_path / "own.c"
    source.write_text("void *pool_take(void *pool, int count) { return pool; }\n")
    out = tmp_path / "out"
    done = fuzz(source, "--out", out)
    assert done.returncode == 2
    assert f"{out / 'own.toml'}, to be moved beside own.c" in done.stdout
    assert 'sources = ["own.c"]' in (out / "own.toml").read_text()
    (out / "own.toml").write_text("mine")
    fuzz(source, "--out", out)
    assert (out / "own.toml").read_text() == "mine"


def test_one_subject_that_fails_does_not_stop_the_next(tmp_path):
    done = fuzz("nonsense", "explicit_list", "--runs", 50, "--no-guided", "--out", tmp_path)
    assert done.returncode == 2
    assert "nonsense: error: " in done.stdout
    assert "explicit_list: ok (" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runs", "0"], "--runs"),
        (["--runs", "many"], "--runs"),
        (["--seconds", "-1"], "--seconds"),
        (["--nonsense"], "--nonsense"),
        (["--report", "fuzz"], "fuzz: cannot be written"),
        (["--json", "README.md/x.json"], "README.md/x.json: cannot be written"),
        (["--replay", "/nonexistent.trace"], "/nonexistent.trace"),
    ],
)
def test_bad_words_are_told_in_one_line(words, said):
    done = fuzz(*words)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.trace", "p0 = malloc\n", "line 1"),
        ("x.trace", "p0 = malloc 8\n", "names no subject"),
        ("x.rep", "1\n2\n", "number of operations is missing"),
        ("x.trace", b"\xff\xfe", "not text"),
    ],
)
def test_broken_traces_are_told_in_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = fuzz("--replay", tmp_path / name)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line


def test_a_rep_file_replays(tmp_path):
    (tmp_path / "x.rep").write_text("20000\n2\n4\n1\na 0 64\na 1 100\nr 0 200\nf 1\n")
    done = fuzz("explicit_list", "--replay", tmp_path / "x.rep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "explicit_list: ok" in done.stdout


def test_a_trace_is_exported_and_comes_back(tmp_path):
    (tmp_path / "x.trace").write_text("p0 = malloc 64\np1 = realloc p0 200\nfree p1\n")
    done = fuzz("--replay", tmp_path / "x.trace", "--export", tmp_path / "x.rep")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.rep").read_text() == "20000\n1\n3\n1\na 0 64\nr 0 200\nf 0\n"
    done = fuzz("--replay", tmp_path / "x.rep", "--export", tmp_path / "back.trace")
    assert done.returncode == 0, done.stderr
    back = from_text((tmp_path / "back.trace").read_text())
    assert back.ops == from_text((tmp_path / "x.trace").read_text()).ops


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("p0 = malloc 8\nwrite p0\n", [], "write cannot be said in .rep"),
        ("p0 = malloc 8\n", ["none"], "--export writes the trace of --replay"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(tmp_path, text, words, said):
    (tmp_path / "x.trace").write_text(text)
    source = [] if words else ["--replay", tmp_path / "x.trace"]
    done = fuzz(*source, "--export", tmp_path / "x.rep")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line


def test_help_teaches():
    done = fuzz("--help")
    assert done.returncode == 0
    assert "python fuzz/run.py best_fit --seconds 600" in done.stdout
    assert "exit status" in done.stdout


@pytest.mark.parametrize("phase", ["--no-guided", "--no-dense"])
def test_control_c_keeps_what_was_found(tmp_path, phase):
    file = tmp_path / "result.json"
    command = [sys.executable, ROOT / "fuzz" / "run.py", BUG, "--seconds", "100", "--seed", "1"]
    command += [phase, "--out", tmp_path, "--json", file]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    folder = tmp_path / "explicit_list+bugs_clears-without-tail"
    deadline = time.monotonic() + 90
    while not list(folder.glob("*.py")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    (subject,) = json.loads(file.read_text())["subjects"]
    assert [found["rule"] for found in subject["findings"]] == ["zeroed"]


def test_it_runs_from_anywhere(tmp_path):
    done = fuzz("explicit_list", "--runs", 10, "--no-guided", "--out", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("expect", "spec", "seen", "word"),
    [
        ("overlap", "a", "overlap", "as expected"),
        ("overlap", "a", "ok", "NOT as expected"),
        ("overlap", "b", "ok", "as expected"),
        ("overlap", "b", "overlap", "NOT as expected"),
        ("ok", "a", "ok", "as expected"),
    ],
)
def test_expectations(expect, spec, seen, word):
    (line,) = expectation(Trace(subject="a", expect=expect), spec, seen)
    assert line.endswith(": " + word)


def test_without_an_expectation_nothing_is_said():
    assert expectation(Trace(subject="a"), "a", "overlap") == []


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [(["ok"], 0), (["ok", "error"], 2), (["error", "violation"], 1), (["unstable"], 2), ([], 0)],
)
def test_exit_codes(monkeypatch, verdicts, status):
    names = iter(verdicts)
    results = [Result(name) for name in names]
    monkeypatch.setattr(Result, "verdict", property(lambda self: self.name))
    assert run.exit_code(results) == status


def test_a_long_trace_is_replayed_in_seconds_and_says_what_was_left_out(tmp_path):
    ops = [f"p{name} = malloc {name % 500}\n" for name in range(15_000)]
    ops += [f"free p{name}\n" for name in range(0, 15_000, 2)]
    (tmp_path / "long.trace").write_text("# format: 1\n# store: 33554432\n" + "".join(ops))
    done = fuzz("tlsf", "--replay", tmp_path / "long.trace")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "over 20,000 operations" in done.stdout
    assert "tlsf: ok (1 executions, 22,500 operations" in done.stdout
