"""Whole traces drawn by Hypothesis: what the strategy makes, and that the batch style can fail.

Clean runs on a subject are in test_conformance.py.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from allocator import description
from allocator.catalogue import HERE as FOLDER
from allocator.catalogue import planted_bugs, resolve
from fuzz.bench import Bench
from fuzz.dedicated import dedicated
from models.contract import PTRDIFF_MAX
from models.trace import ALLOCATING, Trace, from_text, to_text
from tests import strategies
from tests.verdicts import verdict_of

EXPLICIT_LIST = description.read(FOLDER / "explicit_list" / "subject.toml")
NIGHTLY = settings.default.max_examples > 1000
# One for each way of being found: an address, bytes, an answer, an ending, a white-box rule.
QUICK = (
    "clears-one-element",
    "copies-too-little",
    "failed-realloc-frees",
    "malloc-zero-null",
    "merges-upwards-only",
    "size-equals-alignment",
    "small-rest-lost",
    "enters-at-the-tail",
    "equal-neighbours-linked-twice",
)
BUGS = {bug.name: bug for bug in planted_bugs("explicit_list")}


@given(strategies.traces(EXPLICIT_LIST))
def test_a_trace_is_a_value(trace: Trace) -> None:
    """Every trace drawn is well-formed: it survives being written down."""
    assert from_text(to_text(trace)) == trace
    assert len(trace) <= strategies.MAX_OPS


def test_the_strategy_uses_the_whole_menu() -> None:
    seen: Counter = Counter()

    @settings(max_examples=150, derandomize=True, database=None)
    @given(strategies.traces(EXPLICIT_LIST))
    def draw(trace: Trace) -> None:
        seen.update(op.kind for op in trace)
        seen["huge"] += any(op.kind in ALLOCATING and op.size > PTRDIFF_MAX for op in trace)
        seen["large"] += any(op.kind in ALLOCATING and 2**15 <= op.size <= 2**20 for op in trace)
        seen["small store"] += 0 < trace.store <= 16384

    draw()
    missing = [kind for kind in strategies.menu(EXPLICIT_LIST) if not seen[kind]]
    assert not missing
    assert seen["huge"]
    assert seen["large"] >= 15, "thresholds of large blocks"
    assert seen["small store"]


def condemned(bench: Bench, trace: Trace) -> bool:
    """Whether the trace, or a cycle or a refusal made from it, breaks a rule."""
    if not verdict_of(bench, trace).ok:
        return True
    if len(trace) > 12:
        return False
    return any(not verdict_of(bench, derived).ok for derived in dedicated(trace, bench.subject))


@pytest.mark.parametrize("name", BUGS if NIGHTLY else QUICK)
def test_planted_bugs_are_found_from_scratch(name: str) -> None:
    search = settings(
        max_examples=20_000 if NIGHTLY else 1000,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        deadline=None,
    )
    with Bench(resolve(f"explicit_list+bugs/{name}")) as bench:
        deep = BUGS[name].deep
        traces = strategies.whole(bench) if deep else strategies.traces(bench.subject)
        try:
            find(traces, lambda trace: condemned(bench, trace), settings=search)
        except NoSuchExample:
            pytest.fail(f"{name} was not found in {search.max_examples} traces")
