"""Free-running traces: how one is laid out to run, and how often it must show what it showed.

It executes nothing itself: "race this trace" comes as an argument.  Chance decides what a race
shows; so a finding says how often it did, and what never shows again is unstable.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from models.check import Finding
from models.contract import Contract
from models.judging.endings import CannotJudge
from models.judging.free_running import judge_race
from models.observation import Run
from models.rules import ALL
from models.shrink import shrink
from models.trace import ALLOCATING, NIL, Kind, Op, Trace
from models.verdict import Verdict, Violation

OPERATIONS, MOST_LAPS = 2048, 256  # of a round: short traces are repeated by each thread
FRESH = 40  # processes in which a finding is looked for again, at most
ENOUGH = 5  # of them that show it
MOST_TRIES = 12  # of a trace that is to show it once
BUDGET, HANG_BUDGET = 200, 40  # runs that shrinking may take


class Race(Protocol):
    """Runs the threads of a laid-out trace freely, in a process of its own."""

    def __call__(self, trace: Trace, *, seed: int, patient: bool, brief: bool) -> Run:
        """What was seen of the last round; `patient`: with more rounds and CPU time, `brief`: of
        the only one."""


@dataclass(frozen=True)
class Laps:
    """A trace laid out to run freely: each thread does its part several times over.

    `trace` is what runs, with names of its own in each lap; origin[i] is the place in the short
    trace of its operation i, `names` how many names a lap has.
    """

    trace: Trace
    origin: tuple[int, ...]
    names: int
    length: int

    def told(self, verdict: Verdict) -> Verdict:
        """The verdict in the words of the short trace."""
        found = tuple(map(self._told, verdict.all))
        return Verdict(found[0] if found else None, found)

    def _told(self, violation: Violation) -> Violation:
        message = re.sub(r"\bop (\d+) \(", self._op, violation.message)
        message = re.sub(r"\bp(\d+)\b", self._name, message)
        at = violation.op
        at = self.origin[at] if at < len(self.origin) else self.length
        blocks = tuple(name % self.names for name in violation.blocks)
        return replace(violation, op=at, message=message, blocks=blocks)

    def _op(self, match: re.Match[str]) -> str:
        index = int(match[1])
        return f"op {self.origin[index]} on thread {self._thread(index)} ("

    def _thread(self, index: int) -> int:
        ops = self.trace.ops[: index + 1]
        return next((op.first for op in reversed(ops) if op.kind is Kind.THREAD), 0)

    def _name(self, match: re.Match[str]) -> str:
        return f"p{int(match[1]) % self.names}"

    def seen(self, run: Run, verdict: Verdict) -> Run:
        """The run as far as it is about the lap of the violation, for pictures."""
        if verdict.violation is None or not self.origin:
            return replace(run, observations=run.observations[: self.length])
        each = len(self.origin) // max(1, round(len(self.origin) / (self.length + 1)))
        lap = min(verdict.violation.op, len(self.origin) - 1) // max(1, each)
        chosen: dict[int, int] = {}
        for index in range(lap * each, min((lap + 1) * each, len(self.origin))):
            chosen.setdefault(self.origin[index], index)
        seen = run.observations
        picked = [seen[at] for _, at in sorted(chosen.items()) if at < len(seen)]
        plain = tuple(replace(one, granted=0) for one in picked)
        return replace(run, observations=plain, damages=(), done=len(plain))


def laps(trace: Trace, most: int = MOST_LAPS) -> Laps:
    """The trace laid out; free_all becomes a free of each block, thread 0 begins each lap."""
    once = list(_explicit(trace))
    names = 1 + max((op.name for op in trace if op.kind in ALLOCATING), default=0)
    count = min(most, max(1, OPERATIONS // max(1, len(once))))
    ops, origin = [], []
    for lap in range(count):
        for index, op in once:
            block = op.first if op.block in (None, NIL) else op.first + lap * names
            name = op.name + lap * names if op.kind in ALLOCATING else op.name
            ops.append(Op(op.kind, name, block, op.second))
            origin.append(index)
    whole = replace(trace, ops=tuple(ops), free_running=True)
    return Laps(whole, tuple(origin), names, len(trace))


def _explicit(trace: Trace) -> Iterable[tuple[int, Op]]:
    live: dict[int, None] = {}
    yield 0, Op(Kind.THREAD, first=0)
    for index, op in enumerate(trace):
        if op.kind is Kind.FREE_ALL:
            for name in live:
                yield index, Op(Kind.FREE, first=name)
            live.clear()
            continue
        yield index, op
        if op.kind in ALLOCATING:
            live[op.name] = None
        if op.kind is Kind.FREE:
            live.pop(op.first, None)


def look(
    trace: Trace, race: Race, contract: Contract, rules: frozenset[str], *, seed: int,
    patient: bool = False,
) -> tuple[Verdict, Run]:  # fmt: skip
    """One run and the verdict on it, both in the words of the short trace.

    Every other seed's run is brief: what goes wrong at the start of a process takes many of them.
    """
    brief = bool(seed % 2)
    laid = laps(trace, 1 if brief else MOST_LAPS)
    run = race(laid.trace, seed=seed, patient=patient, brief=brief)
    if not run.suspicious:
        return Verdict(), laid.seen(run, Verdict())
    try:
        verdict = judge_race(laid.trace, run, contract, rules)
    except CannotJudge:
        return Verdict(), run
    return laid.told(verdict), laid.seen(run, verdict)


def check_race(
    trace: Trace,
    race: Race,
    contract: Contract,
    rules: frozenset[str] = ALL,
    *,
    subject: str | None = None,
    seed: int = 0,
    budget: int = BUDGET,
    tell: Callable[[str], None] = lambda _text: None,
) -> Finding | None:
    """The finding that a free-running trace leads to; None where no rule is broken in FRESH runs.

    It is shrunk by at most `budget` runs and says how often it showed.  `seed` is that of a run
    that showed it: long or brief, so are all that follow.
    """
    return _Racer(race, contract, rules, subject, seed, tell).check(trace, budget)


class _Racer:
    """Races traces and counts what they show."""

    def __init__(self, race: Race, contract: Contract, rules: frozenset[str], subject: str | None,
                 seed: int, tell: Callable[[str], None]) -> None:  # fmt: skip
        self._race, self._contract, self._rules = race, contract, rules
        self._subject, self._seed, self._tell = subject, seed, tell
        self._runs = 0

    def _once(self, trace: Trace, patient: bool) -> tuple[Verdict, Run]:
        seed = self._seed + 2 * self._runs
        self._runs += 1
        return look(trace, self._race, self._contract, self._rules, seed=seed, patient=patient)

    def _count(self, trace: Trace, most: int = FRESH) -> tuple[Counter[str], dict[str, tuple]]:
        """How often each rule was broken, and an example of each; "" counts all runs."""
        counts: Counter[str] = Counter()
        examples: dict[str, tuple] = {}
        while counts[""] < most and counts.total() - counts[""] < ENOUGH:
            verdict, run = self._once(trace, patient=True)
            counts[""] += 1
            if not verdict.ok:
                counts[verdict.rule] += 1
                examples.setdefault(verdict.rule, (verdict, run))
        return counts, examples

    def check(self, trace: Trace, budget: int) -> Finding | None:
        """See check_race."""
        counts, examples = self._count(trace)
        if not examples:
            return None
        shown = sum(counts[rule] for rule in examples)
        tries = min(MOST_TRIES, math.ceil(2 * counts[""] / shown))
        hangs = set(examples) == {"hang"}
        if budget:
            left = min(budget, HANG_BUDGET) if hangs else budget
            small = self._shrink(trace, frozenset(examples), tries, left)
            again, others = self._count(small)
            if others:
                trace, counts, examples = small, again, others
        return self._finding(trace, counts, examples)

    def _finding(self, trace: Trace, counts: Counter[str], examples: dict[str, tuple]) -> Finding:
        rule = max(examples, key=lambda each: counts[each])
        verdict, run = examples[rule]
        shown = sum(counts[each] for each in examples), counts[""]
        named = replace(trace, subject=self._subject or trace.subject, expect=rule,
                        free_running=True, comments=())  # fmt: skip
        return Finding(
            rule, verdict.violation.message, named, verdict, run, self._runs, shown=shown
        )

    def _shrink(self, trace: Trace, rules: frozenset[str], tries: int, budget: int) -> Trace:
        before = self._runs

        def shows(candidate: Trace) -> bool:
            for _ in range(tries):
                if self._runs - before >= budget:
                    return False
                self._tell(f"shrinking: {self._runs - before} of {budget} runs")
                if self._once(candidate, patient=False)[0].rule in rules:
                    return True
            return False

        return shrink(trace, shows, budget)
