"""The check pipeline: judge a run, confirm in a fresh process, shrink, confirm again.

It executes nothing itself: "run this trace" comes as an argument, so every engine shares it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from models.contract import Contract
from models.judge import CannotJudge, Predict, judge
from models.observation import Outcome, Run
from models.rules import ALL
from models.shrink import BUDGET, shrink
from models.trace import Trace
from models.verdict import Verdict

CPU_LIMIT_MS = 50
CONFIRM_FACTOR = 10
_FRESH_SHARE = 8


class Execute(Protocol):
    """Runs a trace on the subject; in a process of its own or in one that stays warm."""

    def __call__(self, trace: Trace, *, cpu_limit_ms: int) -> Run:
        """What the subject showed; a hang ends after `cpu_limit_ms` of CPU time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, with a trace that shows it.

    `trace` is shrunk and bears `expect` and `subject`; `verdict` and `run` are those of its last
    execution.  `executions` counts every run of a trace.  Where `reproduced` is False the rule
    was not broken in a fresh process: `trace` is then as it was found, and promises nothing.
    `shown`: in how many of how many fresh processes free-running threads broke it.
    """

    rule: str
    message: str
    trace: Trace
    verdict: Verdict
    run: Run
    executions: int
    reproduced: bool = True
    shown: tuple[int, int] | None = None


def check(
    trace: Trace,
    execute: Execute,
    contract: Contract,
    rules: frozenset[str] = ALL,
    predict: Predict | None = None,
    execute_fresh: Execute | None = None,
    *,
    subject: str | None = None,
    seen: Run | None = None,
    cpu_limit_ms: int = CPU_LIMIT_MS,
    budget: int = BUDGET,
) -> Finding | None:
    """The finding that `trace` leads to, None where no rule is broken.

    `execute_fresh` runs a trace in a process of its own (`execute` serves where there is none);
    `seen` is a run of the trace that is at hand already.  A hang that ends within ten times the
    CPU time limit is slowness, no finding.  Shrinking takes `budget` executions at most.  Raises
    CannotJudge when the harness failed in the fresh process too.
    """

    def look(run: Run, of: Trace) -> Verdict:
        return judge(of, run, contract, rules, predict)

    bench = _Bench(execute, execute_fresh or execute, look, cpu_limit_ms)
    try:
        verdict, run = bench.first(trace, seen)
    except CannotJudge:
        verdict, run = bench.fresh(trace)
    if verdict.violation is None:
        return None
    hung = _hung(verdict, run)
    confirmed, fresh_run = bench.confirm(trace, verdict, run)
    if hung and confirmed.ok:
        return None
    # A hang that only hid what comes later makes way for it.
    if confirmed.rule != verdict.rule and not hung:
        return _finding(trace, verdict, run, bench.executions, subject, reproduced=False)
    small, verdict, run = bench.shrink(trace, confirmed, fresh_run, budget)
    return _finding(small, verdict, run, bench.executions, subject)


def _hung(verdict: Verdict, run: Run) -> bool:
    """The violation is that the CPU time limit passed, whatever the rule calls it."""
    at_the_end = verdict.violation is not None and verdict.violation.op == run.done
    return run.outcome is Outcome.HANG and at_the_end


def _finding(
    trace: Trace,
    verdict: Verdict,
    run: Run,
    executions: int,
    subject: str | None,
    reproduced: bool = True,
) -> Finding:
    expect = verdict.rule if reproduced else None
    told = replace(trace, subject=subject or trace.subject, expect=expect, comments=())
    return Finding(
        verdict.rule, verdict.violation.message, told, verdict, run, executions, reproduced
    )


class _Bench:
    """Runs and judges, and counts how often."""

    def __init__(
        self,
        execute: Execute,
        execute_fresh: Execute,
        look: Callable[[Run, Trace], Verdict],
        cpu_limit_ms: int,
    ) -> None:
        self.executions = 0
        self._execute = execute
        self._execute_fresh = execute_fresh
        self._look = look
        self._limit = cpu_limit_ms

    def first(self, trace: Trace, seen: Run | None) -> tuple[Verdict, Run]:
        """The verdict on the run at hand, or on a warm one."""
        run = seen or self._count(self._execute, trace, self._limit)
        return self._look(run, trace), run

    def fresh(self, trace: Trace, patient: bool = False) -> tuple[Verdict, Run]:
        """The verdict in a fresh process, after a hang with ten times the CPU time."""
        limit = self._limit * (CONFIRM_FACTOR if patient else 1)
        run = self._count(self._execute_fresh, trace, limit)
        if run.outcome is Outcome.HANG and not patient:
            return self.fresh(trace, patient=True)
        return self._look(run, trace), run

    def confirm(self, trace: Trace, verdict: Verdict, run: Run) -> tuple[Verdict, Run]:
        """The verdict in a fresh process; the one at hand where the same operation hangs there.

        A process that is ended from outside cannot tell all that it saw.
        """
        hung = _hung(verdict, run)
        fresh, fresh_run = self.fresh(trace, patient=hung)
        if hung and fresh_run.outcome is Outcome.HANG and fresh_run.done == run.done:
            return verdict, run
        return fresh, fresh_run

    def shrink(
        self, trace: Trace, verdict: Verdict, run: Run, budget: int
    ) -> tuple[Trace, Verdict, Run]:
        """The smallest trace that breaks the same rule in a fresh process, judged there."""
        rule, hangs = verdict.rule, _hung(verdict, run)
        # Each failing execution of a hang costs the whole limit.
        limit = max(1, self._limit // 4) if hangs else self._limit
        tries = ((self._execute, budget), (self._execute_fresh, budget // _FRESH_SHARE))
        for execute, share in tries:
            small = shrink(trace, lambda one, by=execute: self._breaks(one, rule, by, limit), share)
            last, last_run = self._last(small, limit) if hangs else self.fresh(small)
            if last.rule == rule:
                return small, last, last_run
        return trace, verdict, run

    def _last(self, trace: Trace, limit: int) -> tuple[Verdict, Run]:
        """The verdict on a shrunk hang, confirmed."""
        run = self._count(self._execute, trace, limit)
        return self.confirm(trace, self._look(run, trace), run)

    def _breaks(self, trace: Trace, rule: str, execute: Execute, limit: int) -> bool:
        try:
            return self._look(self._count(execute, trace, limit), trace).rule == rule
        except CannotJudge:
            return False

    def _count(self, execute: Execute, trace: Trace, limit: int) -> Run:
        self.executions += 1
        return execute(trace, cpu_limit_ms=limit)
