"""Every saved trace shows on its own subject what its first lines say.

A trace is saved by hand, from what a search wrote: this file only replays.  That correct
allocators show nothing on any of them, test_conformance.py holds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from allocator.catalogue import bundled, planted_bugs, resolve
from fuzz.bench import Bench
from models.trace import from_text, to_text
from tests.verdicts import verdict_of

TRACES = Path(__file__).parent / "traces"
FILES = sorted(TRACES.rglob("*.trace"))
OF_BUGS = [path for path in FILES if path.parent.name in bundled()]


def identity(path: Path) -> str:
    return str(path.relative_to(TRACES).with_suffix(""))


@pytest.mark.parametrize("path", OF_BUGS, ids=identity)
def test_its_own_subject_shows_what_is_expected(path: Path) -> None:
    trace = from_text(path.read_text())
    with Bench(resolve(trace.subject)) as bench:
        assert verdict_of(bench, trace).rule == trace.expect


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_it_is_written_as_the_trace_language_writes(path: Path) -> None:
    text = path.read_text()
    trace = from_text(text)
    assert to_text(trace) == text
    assert trace.subject
    assert trace.expect
    assert trace.comments, "a line of story says why the trace is kept"


@pytest.mark.parametrize("name", bundled())
def test_each_planted_bug_has_one(name: str) -> None:
    saved = {from_text(path.read_text()).subject for path in OF_BUGS if path.parent.name == name}
    assert {bug.subject for bug in planted_bugs(name)} <= saved
