"""A phase of a campaign: programs whose threads run freely, for subjects that promise threads.

A part of campaign.py's Campaign.  What the executor does with such a trace is race.c's, what it
means is models/race.py's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from allocator.subject import Subject, SubjectError
from fuzz.bench import SANITIZED_ROUNDS, Bench
from fuzz.budget import Budget
from fuzz.limits import Limits, program_bytes
from fuzz.options import Options
from fuzz.results import Result
from models.check import Finding
from models.race import laps, look
from models.trace import ALLOCATING, MISUSES, Kind, Op, Trace

LENGTHS = (12, 24, 64)  # operations a program
HANDED_ON = 0.6  # of the operations another thread does than did the one before
ENDING = 0.4  # of the programs have threads that end and begin
_LEFT_OUT = MISUSES | {Kind.THREAD, Kind.END_THREAD, Kind.FREE_ALL}


class RacePhase:
    """The free-running search, for a class that has the word on traces."""

    options: Options
    tell: Callable[[str], None]
    result: Result
    _bench: Bench
    _limits: Limits
    _enough: bool
    _found: set[str]
    _keep: Callable[[Finding], None]
    _note_vanished: Callable[[str], None]

    def _races(self, subject: Subject, share: float) -> None:
        """Random programs whose threads run freely."""
        budget = Budget(self.options.seconds, self.options.runs, share)
        source = random.Random(self.options.seed)
        seed = self.options.seed * 1_000_003
        while budget.cut(1) and not self._enough:
            seed += 1
            trace = self._program(source, seed, subject)
            verdict, _ = look(
                trace, self._bench.race, subject.contract, self._bench.rules, seed=seed
            )
            rounds = max(1, self._bench.rounds)
            budget.spend(rounds)
            self.result.executions += rounds
            self._count_raced(rounds * (len(trace) if seed % 2 else len(laps(trace).trace)))
            self.tell(f"free-running threads: {self.result.executions:,} executions")
            if not verdict.ok and verdict.rule not in self._found:
                self._check_race(trace, verdict.rule, seed)

    def _count_raced(self, operations: int) -> None:
        self.result.ops += operations
        self.result.raced += operations

    def _program(self, source: random.Random, seed: int, subject: Subject) -> Trace:
        length = program_bytes(source.choice(LENGTHS))
        limits = self._limits if source.random() < 0.2 else self._limits.dense()
        self._bench.executor.search(seed, 1, length, limits.pack())
        return shared_out(self._bench.executor.last_trace(), source, self.options.threads, subject)

    def _sanitized(self, subject: Subject, share: float) -> None:
        """The same with ThreadSanitizer, which sees a race whether or not it does harm."""
        self.tell("building with ThreadSanitizer")
        try:
            self._bench.sanitize(self.options.tsan or "")
        except SubjectError as error:
            self.result.notes.append(f"no ThreadSanitizer: {error}")
            return
        budget = Budget(self.options.seconds, self.options.runs, share)
        source = random.Random(self.options.seed)
        seed = 2 * self.options.seed * 1_000_003 + 1  # brief ones
        while budget.cut(1) and not self._enough and "race" not in self._found:
            seed += 2
            trace = self._program(source, seed, subject)
            verdict, _ = look(
                trace, self._bench.sanitized, subject.contract, self._bench.rules, seed=seed
            )
            budget.spend(SANITIZED_ROUNDS)
            self.result.executions += SANITIZED_ROUNDS
            self._count_raced(SANITIZED_ROUNDS * len(trace))
            self.tell(f"ThreadSanitizer: {self.result.executions:,} executions")
            if not verdict.ok and verdict.rule not in self._found:
                self._check_race(trace, verdict.rule, seed, sanitized=True)

    def _check_race(self, trace: Trace, rule: str, seed: int, sanitized: bool = False) -> None:
        self.tell(f"{rule}: looking whether {len(trace)} operations show it again")
        finding = self._bench.check_race(
            trace, seed=seed, sanitized=sanitized, tell=lambda text: self.tell(f"{rule}: {text}")
        )
        if finding is None:
            self._note_vanished(rule)
            return
        self._found.add(rule)
        self.result.executions += finding.executions
        if finding.rule not in {report.finding.rule for report in self.result.reports}:
            self._keep(finding)
        self._found.add(finding.rule)


def shared_out(trace: Trace, source: random.Random, threads: int, subject: Subject) -> Trace:
    """The program with its operations given to `threads` threads, and all blocks freed at last."""
    ops: list[Op] = []
    live: dict[int, None] = {}

    def hand_on() -> Iterator[Op]:
        if source.random() < HANDED_ON:
            yield Op(Kind.THREAD, first=source.randrange(threads))

    for op in trace:
        if op.kind in _LEFT_OUT:
            continue
        ops += [*hand_on(), op]
        if op.kind in ALLOCATING:
            live[op.name] = None
        if op.kind is Kind.FREE:
            live.pop(op.first, None)
    for name in live if "free" in subject.has else ():
        ops += [*hand_on(), Op(Kind.FREE, first=name)]
    if any(op.kind is Kind.DENY for op in ops):
        ops.append(Op(Kind.DENY, first=0))
    if source.random() < ENDING:
        ops += [Op(Kind.END_THREAD, first=number) for number in range(1, threads)]
    return replace(trace, ops=tuple(ops), store=0, free_running=True)
