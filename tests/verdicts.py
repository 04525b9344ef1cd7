"""What a test does with a trace: execute, judge, and raise what a reader needs if a rule broke.

It generates nothing; strategies.py and stateful.py bring the traces.
"""

from __future__ import annotations

from collections.abc import Callable

from fuzz.bench import Bench
from models.check import Finding
from models.observation import Run
from models.race import look
from models.report import report
from models.rules import ALL
from models.trace import Trace, to_text
from models.verdict import Verdict


class RuleBroken(AssertionError):
    """A rule is broken; conftest.py prints `told()` in place of a traceback."""

    def __init__(self, bench: Bench, trace: Trace, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self._bench = bench
        self._trace = trace
        self._text = ""

    def told(self) -> str:
        """The report of the shrunk trace, or of this one where it does not show again."""
        if not self._text:
            finding = self._bench.check(self._trace)
            if finding is None:
                self._text = f"{self}\n{to_text(self._trace)}not seen in a second execution\n"
            else:
                self.tell(finding)
        return self._text

    def tell(self, finding: Finding) -> None:
        """This finding is what is to be told: it is confirmed and shrunk already."""
        self._text = report(finding, self._bench.subject.contract)


def demand_ok(bench: Bench, trace: Trace) -> Run:
    """Executes and judges `trace`; raises RuleBroken unless no rule is broken."""
    run = bench.execute(trace)
    verdict = bench.judge(trace, run)
    if verdict.violation is not None:
        raise RuleBroken(bench, trace, verdict.rule, verdict.violation.message)
    return run


def demand_ok_racing(bench: Bench, trace: Trace, seed: int) -> None:
    """Lets the threads of `trace` run freely; raises RuleBroken where a rule is broken again and
    again."""
    verdict, _ = look(trace, bench.race, bench.subject.contract, ALL, seed=seed)
    finding = None if verdict.ok else bench.check_race(trace, seed=seed)
    if finding:
        broken = RuleBroken(bench, finding.trace, finding.rule, finding.message)
        broken.tell(finding)
        raise broken


def demand_same_layout(bench: Bench, trace: Trace, run: Run) -> None:
    """The subject's own walk shows the blocks that the exact model has after `trace`."""
    if bench.predict is None or run.done < len(trace):
        return
    model = bench.predict(trace, run, bench.subject.contract)
    for op, seen in zip(trace, run.observations, strict=True):
        model.expected(op, seen)
    compare_layout(bench, trace, run, model.layout)


def compare_layout(bench: Bench, trace: Trace, run: Run, layout: Callable[[], list]) -> None:
    """The same for a model that has seen the run already."""
    seen = [(address - run.base, size, used) for address, size, used in bench.executor.layout()]
    expected = layout()
    if seen != expected:
        message = f"the exact model has the blocks {expected}, the walk shows {seen}"
        raise RuleBroken(bench, trace, "model", message)


def verdict_of(bench: Bench, trace: Trace) -> Verdict:
    """The verdict on one execution."""
    return bench.judge(trace, bench.execute(trace))
