"""Hypothesis as an engine: searches one subject until a rule breaks or its caller has had enough.

It is no test and confirms nothing; ci/killing/ sets it on mutants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, core, given, settings
from hypothesis.stateful import run_state_machine_as_test

from fuzz.bench import Bench
from models.trace import Op, Trace
from tests import strategies
from tests.stateful import machine_for
from tests.verdicts import RuleBroken, demand_ok

STEPS = 40
_ENDLESS = settings(
    max_examples=10_000_000,
    derandomize=False,  # whatever the profile: it would take no notice of the seed
    stateful_step_count=STEPS,
    phases=(Phase.generate,),
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=tuple(HealthCheck),
)


@dataclass
class Found:
    """The first trace that broke a rule, None so far; and how many were executed.

    `stop` is the caller's exception, `stopped` whether it was raised.
    """

    pulse: Callable[[], object]
    stop: type[BaseException]
    trace: Trace | None = None
    executions: int = 0
    stopped: bool = False

    def beat(self) -> None:
        """Asks the caller whether to go on."""
        try:
            self.pulse()
        except self.stop:
            self.stopped = True
            raise

    def note(self, trace: Trace) -> None:
        """A rule is broken: the first time counts, unless the caller has had enough."""
        if self.trace is None and not self.stopped:
            self.trace = trace


def sessions(
    bench: Bench, seed: int, pulse: Callable[[], object], stop: type[BaseException]
) -> Found:
    """The state machine, one call at a time; `pulse` is called before each and may raise `stop`."""
    found = Found(pulse, stop)

    class Watched(machine_for(bench)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            found.executions += not found.trace

        def do(self, op: Op) -> None:
            found.beat()
            self._watch(lambda: super(Watched, self).do(op))

        def teardown(self) -> None:
            self._watch(super().teardown)

        def _watch(self, act: Callable[[], None]) -> None:
            try:
                act()
            except RuleBroken:
                found.note(self.trace)
                raise

    return _run(found, seed, lambda: run_state_machine_as_test(Watched, settings=_ENDLESS))


def whole_traces(
    bench: Bench, seed: int, pulse: Callable[[], object], stop: type[BaseException]
) -> Found:
    """Random traces, complete before they run."""
    found = Found(pulse, stop)

    @_ENDLESS
    @given(strategies.whole(bench))
    def search(trace: Trace) -> None:
        found.beat()
        found.executions += not found.trace
        try:
            demand_ok(bench, trace)
        except RuleBroken:
            found.note(trace)
            raise

    return _run(found, seed, search)


def _run(found: Found, seed: int, search: Callable[[], None]) -> Found:
    core.global_force_seed = seed
    try:
        search()
    except found.stop:
        pass
    except Exception:  # what Hypothesis makes of a failure, or of an end in mid-session: flakiness
        if found.trace is None and not found.stopped:
            raise
    finally:
        core.global_force_seed = None
    return found
