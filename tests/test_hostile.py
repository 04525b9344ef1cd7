"""Subjects that misbehave towards their harness: each ends in a verdict, and the harness lives on.

What the rules say of ordinary bugs is tested elsewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allocator import catalogue
from allocator.executor import run_fresh
from fuzz.bench import Bench
from models.observation import Outcome
from models.trace import Trace, from_text
from tests.samples import HOSTILE

ROOT = Path(__file__).resolve().parent.parent
WALL_SECONDS = 120
# File -> the rules of which one must be named; ok: it does no harm to anybody but itself.
SUBJECTS = {
    "scribbler": {"content", "crash", "overlap"},
    "glutton": {"bounds"},
    "forker": {"exit"},
    "closer": {"ok"},
    "closes_all": {"ok"},
    "catcher": {"crash"},
    "quitter": {"exit"},
    "recursion": {"crash"},
    "sleeper": {"hang"},
    "spin": {"hang"},
    "jumper": {"crash", "hang", "null", "overlap", "content"},
    "unmapper": {"crash", "content"},
}


def busy_trace() -> Trace:
    """Enough of everything for each of them to show what it does."""
    lines = [f"p{name} = malloc {24 + 8 * (name % 5)}" for name in range(48)]
    lines += ["free p0", "free p3", "p48 = malloc 3000", "p49 = malloc 5000", "free NULL"]
    return from_text("\n".join(lines))


def children(pid: int) -> list[str]:
    """The processes whose parent is `pid`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += [entry.parent.name] if int(fields[1]) == pid else []
    return found


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_ends_in_a_verdict(name: str) -> None:
    before = children(os.getpid())
    trace = busy_trace()
    with Bench(catalogue.resolve(str(HOSTILE / f"{name}.c"))) as bench:
        verdicts = [bench.judge(trace, bench.execute(trace)) for _ in range(2)]
        assert bench.execute(Trace(())).outcome is Outcome.FINISHED, "ready for the next trace"
    assert verdicts[0].rule == verdicts[1].rule, "nothing is left over from the first"
    assert verdicts[0].rule in SUBJECTS[name], verdicts[0].violation
    assert children(os.getpid()) == before


def test_a_forbidden_call_is_named() -> None:
    trace = from_text("p0 = malloc 8")
    subject = catalogue.resolve(str(HOSTILE / "forker.c"))
    with Bench(subject) as bench:
        violation = bench.judge(trace, bench.execute(trace)).violation
    assert violation is not None
    assert "started another process or program (fork)" in violation.message


def test_memory_is_limited() -> None:
    """It takes 16 MiB a call: at some point there is no more, and it gets NULL."""
    trace = from_text("\n".join(f"p{name} = malloc 1" for name in range(200)))
    run = run_fresh(catalogue.resolve(str(HOSTILE / "glutton.c")), trace, cpu_limit_ms=5000)
    assert run.outcome is Outcome.FINISHED
    assert not run.observations[-1].address


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int | None, str]]:
    """Status and output of the command on each of them, all at once: some of them sleep."""
    out = tmp_path_factory.mktemp("out")
    started = {}
    for name in SUBJECTS:
        words = [sys.executable, "fuzz/run.py", str(HOSTILE / f"{name}.c"), "--runs", "60"]
        words += ["--findings", "1", "--seed", "7", "--out", str(out)]
        started[name] = subprocess.Popen(
            words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    ended = {}
    for name, process in started.items():
        try:
            text = process.communicate(timeout=WALL_SECONDS)[0]
            ended[name] = (process.returncode, text)
        except subprocess.TimeoutExpired:
            process.kill()
            ended[name] = (None, process.communicate()[0])
    return ended


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_command_survives_it(name: str, searches: dict[str, tuple[int | None, str]]) -> None:
    status, text = searches[name]
    assert "Traceback" not in text
    told = re.search(r"^\S+: (ok|violation|unstable)(?:: (\S+))? ", text, re.M)
    assert told, text
    assert (told[2] or "ok") in SUBJECTS[name]
    assert status == {"ok": 0, "violation": 1, "unstable": 2}[told[1]]
    assert told[1] != "unstable" or name == "jumper", "a jump to nowhere ends anywhere"
