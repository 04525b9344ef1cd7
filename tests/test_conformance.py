"""The conformance suite: what `pytest --allocator SUBJECT` runs against any allocator.

It knows no allocator's insides; the contract says what is held against it.
"""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis.stateful import run_state_machine_as_test

from fuzz.bench import Bench
from fuzz.dedicated import dedicated
from fuzz.limits import limits_of, program_bytes
from fuzz.options import THREADS
from fuzz.race_phase import LENGTHS, shared_out
from models.trace import Kind, Op, Trace, from_text
from tests import strategies
from tests.stateful import machine_for
from tests.verdicts import demand_ok, demand_ok_racing, demand_same_layout

TRACES = Path(__file__).parent / "traces"


def test_whole_traces(bench: Bench) -> None:
    """Random programs, complete before they run, one call each."""

    @given(strategies.whole(bench))
    def check(trace: Trace) -> None:
        demand_ok(bench, trace)

    check()


def test_one_call_at_a_time(bench: Bench) -> None:
    """A session in lock step with the reference heap, and the exact model where there is one."""
    run_state_machine_as_test(machine_for(bench))


def test_cycles_and_refusals(bench: Bench) -> None:
    """Traces that repeat a cycle or refuse pages: reclaim, footprint, oom."""

    @settings(max_examples=max(5, settings.default.max_examples // 20))
    @given(strategies.traces(bench.subject, max_ops=12))
    def check(trace: Trace) -> None:
        for derived in dedicated(trace, bench.subject):
            demand_ok(bench, derived)

    check()


def test_huge_requests(bench: Bench) -> None:
    """Sizes, products and alignments that no memory can meet, on an empty and on a used heap."""
    functions = bench.subject.has
    used = [Op(Kind.MALLOC, 0, 24)]
    for before in ([], used):
        for pair in [(size, 0) for size in strategies.LIMITS] + strategies.OVERFLOWS:
            kind = Kind.CALLOC if pair[1] else Kind.MALLOC
            if kind is Kind.MALLOC or "calloc" in functions:
                demand_ok(bench, Trace((*before, Op(kind, 1, *pair)), bench.subject.name))
    for size in strategies.LIMITS if "realloc" in functions else ():
        demand_ok(bench, Trace((*used, Op(Kind.REALLOC, 1, 0, size)), bench.subject.name))
    for size in strategies.LIMITS if "aligned_alloc" in functions else ():
        demand_ok(bench, Trace((Op(Kind.ALIGNED_ALLOC, 1, 64, size),), bench.subject.name))


def test_threads_that_run_freely(racing: Bench) -> None:
    """Programs whose threads race; what breaks must do so again in a fresh process."""
    source, subject = random.Random(1), racing.subject
    limits = limits_of(subject).dense().pack()
    for seed in range(max(20, settings.default.max_examples // 5)):
        racing.executor.search(seed, 1, program_bytes(LENGTHS[seed % len(LENGTHS)]), limits)
        trace = shared_out(racing.executor.last_trace(), source, THREADS, subject)
        demand_ok_racing(racing, trace, seed)


def test_saved_traces(bench: Bench) -> None:
    """What broke another allocator once must not break this one."""
    for path in sorted(TRACES.rglob("*.trace")):
        trace = from_text(path.read_text())
        same = Trace(trace.ops, bench.subject.name, trace.store)
        demand_same_layout(bench, same, demand_ok(bench, same))
