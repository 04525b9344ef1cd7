"""The tripwire held to the judge: what the judge condemns by one operation, it must flag.

It may flag more; the other way round a broken rule would never be judged.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

from allocator.catalogue import resolve
from allocator.executor import Executor, open_executor
from models.judge import judge
from models.rules import BLACK_BOX_RULES
from models.trace import Trace, from_text
from tests import strategies

HERE = Path(__file__).parent
# These need many operations: dedicated traces are always judged.
BY_MANY = frozenset({"reclaim", "footprint"})
BY_ONE = BLACK_BOX_RULES - BY_MANY
FILES = sorted((HERE / "traces").rglob("*.trace"))


def condemned(executor: Executor, trace: Trace) -> list[str]:
    """The rules broken by one operation; fails if the tripwire slept through them."""
    run = executor.run(trace, check="none", cpu_limit_ms=50)
    verdict = judge(trace, run, executor.subject.contract, BY_ONE)
    assert run.suspicious or verdict.ok, f"slept through {verdict.violation}"
    return [violation.rule for violation in verdict.all]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_wakes_for_saved_traces(path: Path) -> None:
    trace = from_text(path.read_text())
    with open_executor(resolve(trace.subject), sandbox=True) as executor:
        rules = condemned(executor, trace)
    assert trace.expect not in BY_ONE or trace.expect in rules


@pytest.fixture(scope="module")
def liar():
    with open_executor(resolve(str(HERE / "subjects" / "liar.toml")), sandbox=True) as opened:
        yield opened


# {lie} is a size whose remainder modulo 20 chooses the lie; 40 and 60 are honest.
PROGRAMS = (
    "p0 = malloc 40\np1 = malloc {lie}\nfree p0\nfree p1\n",
    "p0 = malloc {lie}\nfree p0\np1 = malloc {lie}\n",
    "p0 = malloc 40\np1 = calloc 1 {lie}\nwrite p1\nfree p1\n",
    "p0 = malloc 40\np1 = realloc p0 {lie}\nwrite p1\n",
    "p0 = malloc 40\np1 = realloc p0 {lie}\nfree p0\np2 = malloc 60\n",
    "p0 = realloc NULL {lie}\np1 = malloc {lie}\n",
    "p0 = malloc 40\np1 = aligned_alloc 64 {lie}\n",
    "p0 = malloc {lie}\nfree p0\ndouble_free p0\n",
    "free NULL\n",
    "p0 = malloc 0\np1 = malloc 40\n",
    "p0 = malloc 40\np1 = realloc p0 0\np2 = malloc 40\n",
    "p0 = malloc SIZE_MAX-{lie}\n",
    "p0 = calloc {lie} PTRDIFF_MAX\n",
    "p0 = aligned_alloc 24 {lie}\n",
)
LIES = 20


def test_it_wakes_for_every_lie(liar: Executor) -> None:
    seen: Counter = Counter()
    for program in PROGRAMS:
        for size in range(100, 100 + LIES):
            seen.update(condemned(liar, from_text(program.format(lie=size))))
    # In the arena of the liar nothing is ever refused: no pages, no `oom`; it has one thread.
    missing = BY_ONE - set(seen) - {"oom", "race"}
    assert not missing, f"no trace made the liar break {sorted(missing)}; seen: {dict(seen)}"


def test_it_wakes_for_lies_told_at_random(liar: Executor) -> None:
    @settings(max_examples=2 * settings.default.max_examples)
    @given(strategies.traces(liar.subject, max_ops=10))
    def check(trace: Trace) -> None:
        condemned(liar, trace)

    check()
