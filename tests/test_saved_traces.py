"""Every saved trace shows on its own subject what its first lines say, and nothing on best_fit.

A trace is saved by hand, from what a search wrote: this file only replays.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from allocator.catalogue import planted_bugs, resolve
from fuzz.bench import Bench
from models.trace import Trace, from_text, to_text
from tests.verdicts import demand_ok, demand_same_layout, verdict_of

TRACES = Path(__file__).parent / "traces"
FILES = sorted(TRACES.rglob("*.trace"))
BUG_MARK = "best_fit+bugs/"


def identity(path: Path) -> str:
    return str(path.relative_to(TRACES).with_suffix(""))


@pytest.fixture(scope="module")
def correct():
    with Bench(resolve("best_fit")) as opened:
        yield opened


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_its_own_subject_shows_what_is_expected(path: Path) -> None:
    trace = from_text(path.read_text())
    with Bench(resolve(trace.subject)) as bench:
        assert verdict_of(bench, trace).rule == trace.expect


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_the_correct_best_fit_shows_nothing(correct: Bench, path: Path) -> None:
    trace = from_text(path.read_text())
    same = Trace(trace.ops, "best_fit", trace.store)
    demand_same_layout(correct, same, demand_ok(correct, same))


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_it_is_written_as_the_trace_language_writes(path: Path) -> None:
    text = path.read_text()
    trace = from_text(text)
    assert to_text(trace) == text
    assert trace.subject
    assert trace.expect
    assert trace.comments, "a line of story says why the trace is kept"


def test_each_planted_bug_has_one() -> None:
    saved = {from_text(path.read_text()).subject for path in FILES}
    assert {BUG_MARK + bug.name for bug in planted_bugs("best_fit")} <= saved
