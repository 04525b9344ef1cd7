"""The check pipeline: judged, confirmed in a fresh process, shrunk, confirmed again.

Simulated allocators in pure Python; a "process" is one of them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.check import check
from models.contract import Contract
from models.judge import CannotJudge
from models.observation import Observation, Outcome, Run, Seen, Stage
from models.rules import ALL
from models.trace import Trace, from_text
from tests import broken
from tests.simulated import Plain, execute
from tests.test_shrink import condemns, noisy, prepared

CONTRACT = Contract(alignment=16)


class Bench:
    """Counts executions and their CPU limits; runs `subject`."""

    def __init__(self, subject, contract=CONTRACT):
        self.subject, self.contract, self.limits = subject, contract, []

    def __call__(self, trace, *, cpu_limit_ms):
        self.limits.append(cpu_limit_ms)
        return execute(trace, self.contract, self.subject)


def test_a_correct_allocator_has_no_finding():
    bench = Bench(Plain)
    assert check(noisy(40), bench, CONTRACT) is None
    assert len(bench.limits) == 1


def test_a_finding_is_small_confirmed_and_promises_its_rule():
    warm, fresh = Bench(broken.LosesPrefix), Bench(broken.LosesPrefix)
    finding = check(noisy(40), warm, CONTRACT, execute_fresh=fresh, subject="simulated+bug")
    assert (finding.rule, finding.trace.expect) == ("prefix", "prefix")
    assert finding.trace.subject == "simulated+bug"
    assert finding.reproduced
    assert len(finding.trace) <= 3
    assert finding.executions == len(warm.limits) + len(fresh.limits)
    assert len(fresh.limits) == 2
    assert finding.message == finding.verdict.violation.message


def test_a_run_at_hand_is_not_repeated():
    bench = Bench(broken.LosesPrefix)
    trace = noisy(40)
    seen = execute(trace, CONTRACT, broken.LosesPrefix)
    finding = check(trace, bench, CONTRACT, seen=seen, budget=0)
    # Once to confirm, then what is left of shrinking without a budget: one confirmation.
    assert finding.executions == len(bench.limits) == 2
    assert finding.trace.ops == trace.ops


def test_what_does_not_come_back_is_unstable():
    finding = check(noisy(40), Bench(broken.LosesPrefix), CONTRACT, execute_fresh=Bench(Plain))
    assert not finding.reproduced
    assert finding.trace.expect is None
    assert finding.trace.ops == noisy(40).ops


def test_a_shrunk_trace_that_fails_only_warm_is_not_reported():
    trace = prepared("survival", condemns(broken.FailedReallocScribbles, "survival", CONTRACT))

    def fresh(one, *, cpu_limit_ms):
        subject = broken.FailedReallocScribbles if len(one) >= 10 else Plain
        return execute(one, CONTRACT, subject)

    finding = check(trace, Bench(broken.FailedReallocScribbles), CONTRACT, execute_fresh=fresh)
    assert (finding.rule, finding.reproduced) == ("survival", True)
    assert len(finding.trace) >= 10


def test_rules_switched_off_are_not_found():
    bench = Bench(broken.LosesPrefix)
    assert check(noisy(40), bench, CONTRACT, ALL - {"prefix"}) is None


def hangs_at(count, needed_ms):
    """Any program with `count` allocations or more takes `needed_ms` of CPU time."""

    def run(trace, *, cpu_limit_ms):
        run.limits.append(cpu_limit_ms)
        made = [index for index, op in enumerate(trace) if op.size]
        if len(made) < count or cpu_limit_ms >= needed_ms:
            return execute(trace, CONTRACT, Plain)
        whole = execute(trace, CONTRACT, Plain)
        at = made[count - 1]
        left = Observation(flags=int(Seen.LEFT))
        seen = (*whole.observations[:at], left)
        return Run(seen, (), Outcome.HANG, at, Stage.CALL, store_base=whole.store_base)

    run.limits = []
    return run


def test_a_slow_operation_is_no_hang():
    assert check(noisy(20), hangs_at(3, needed_ms=1500), CONTRACT, cpu_limit_ms=200) is None


def test_a_hang_is_shrunk_quickly_and_confirmed_patiently():
    warm, fresh = hangs_at(3, 10**9), hangs_at(3, 10**9)
    finding = check(noisy(20), warm, CONTRACT, execute_fresh=fresh, cpu_limit_ms=200)
    assert (finding.rule, len(finding.trace)) == ("hang", 3)
    assert set(fresh.limits) == {2000}
    assert set(warm.limits[1:]) == {50}


def test_the_harness_own_failure_is_no_finding():
    broken_run = replace(execute(noisy(3), CONTRACT), outcome=Outcome.SIGNAL, stage=Stage.RESTORE)

    def warm(trace, *, cpu_limit_ms):
        return broken_run

    assert check(noisy(3), warm, CONTRACT, execute_fresh=Bench(Plain)) is None
    with pytest.raises(CannotJudge):
        check(noisy(3), warm, CONTRACT)


def test_an_empty_trace_is_clean():
    assert check(Trace(), Bench(Plain), CONTRACT) is None


def test_store_and_names_survive():
    trace = from_text("# store: 8192\np5 = malloc 24\np6 = realloc p5 64\n")
    finding = check(trace, Bench(broken.LosesPrefix), CONTRACT)
    # `realloc p5 1` moves, too; the default store will do.
    assert finding.trace.store == 0
    assert [op.name for op in finding.trace] == [0, 1]


def test_a_hang_keeps_its_rule_where_the_fresh_process_was_ended_from_outside():
    contract = Contract(alignment=16)

    def hang(trace, flags):
        left = Observation(flags=int(flags | Seen.LEFT))
        return Run((left,), (), Outcome.HANG, 0, Stage.CALL) if trace.ops else Run((), done=0)

    def warm(trace, *, cpu_limit_ms):
        return hang(trace, Seen.REFUSED)

    def fresh(trace, *, cpu_limit_ms):
        return hang(trace, Seen(0))

    finding = check(from_text("p0 = malloc 8\n"), warm, contract, execute_fresh=fresh)
    assert (finding.rule, finding.reproduced) == ("oom", True)
