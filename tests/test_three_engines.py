"""One bug, three engines: what each of them finds, the other two confirm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, find, settings

from allocator.catalogue import resolve
from fuzz.bench import Bench
from models.rules import ALL
from models.trace import Trace, from_text, to_text
from tests import strategies
from tests.verdicts import verdict_of

ROOT = Path(__file__).resolve().parent.parent
BUG = "explicit_list+bugs/coalesce-forgets-footer"
CLAIM = "bounded.tags"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """One of the project's own programs, as a user starts it."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def found_by_hypothesis(folder: Path) -> Trace:
    search = settings(
        max_examples=1000, derandomize=True, database=None, phases=[Phase.generate], deadline=None
    )
    with Bench(resolve(BUG)) as bench:
        return find(
            strategies.traces(bench.subject),
            lambda trace: not verdict_of(bench, trace).ok,
            settings=search,
        )


def found_by_fuzzing(folder: Path) -> Trace:
    result = folder / "fuzz.json"
    budget = ("--runs", "3000", "--seed", "1", "--no-guided")
    done = run("fuzz/run.py", BUG, *budget, "--out", str(folder), "--json", str(result))
    assert done.returncode == 1, done.stderr
    (subject,) = json.loads(result.read_text())["subjects"]
    return from_text(subject["findings"][0]["trace"])


def found_by_proving(folder: Path) -> Trace:
    result = folder / "proofs.json"
    done = run("proofs/run.py", BUG, "--quick", "--claim", CLAIM, "--json", str(result))
    assert done.returncode == 1, done.stderr
    (subject,) = json.loads(result.read_text())["subjects"]
    (claim,) = subject["claims"]
    assert claim["verdict"] == "refuted"
    return from_text(claim["trace"])


def confirmed_by_pytest(path: Path) -> bool:
    with Bench(resolve(BUG)) as bench:
        return not verdict_of(bench, from_text(path.read_text())).ok


def confirmed_by_fuzzing(path: Path) -> bool:
    return run("fuzz/run.py", BUG, "--replay", str(path)).returncode == 1


def confirmed_by_proving(path: Path) -> bool:
    return run("proofs/run.py", BUG, "--replay", str(path)).returncode == 1


ENGINES = {
    "hypothesis": (found_by_hypothesis, confirmed_by_pytest),
    "fuzz": (found_by_fuzzing, confirmed_by_fuzzing),
    "proofs": (found_by_proving, confirmed_by_proving),
}


@pytest.mark.parametrize("finder", ENGINES)
def test_what_one_engine_finds_the_others_confirm(finder: str, tmp_path: Path) -> None:
    search: Callable[[Path], Trace] = ENGINES[finder][0]
    path = tmp_path / "found.trace"
    path.write_text(to_text(search(tmp_path)))
    for name, (_, confirm) in ENGINES.items():
        assert confirm(path), f"{name} does not confirm\n{path.read_text()}"


def test_the_correct_allocator_is_not_accused_of_it(tmp_path: Path) -> None:
    path = tmp_path / "found.trace"
    path.write_text(to_text(found_by_proving(tmp_path)))
    with Bench(resolve("explicit_list"), ALL) as bench:
        assert verdict_of(bench, from_text(path.read_text())).ok
    assert run("proofs/run.py", "explicit_list", "--replay", str(path)).returncode == 0
