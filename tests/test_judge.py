"""One broken allocator for each rule and its nearest correct neighbour: the judge tells them apart.

Pure Python: tests/simulated.py stands in for C.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from models.contract import Contract
from models.cycles import cycle_trace, exhaust, largest_block
from models.judge import judge
from models.observation import Observation, Outcome, Run, Seen, Stage
from models.rules import ALL, RULES
from models.trace import from_text
from tests import broken
from tests.simulated import BASE, Odd, Plain, execute

EVERY_PROMISE = {
    "alignment": 16,
    "malloc_zero": "unique",
    "realloc_zero": "free",
    "enomem": True,
    "free_preserves_errno": True,
    "refuses_over_ptrdiff": True,
    "invalid_alignment": True,
    "coalesces": True,
    "reclaims": True,
    "detects": {"double_free": "abort"},
}


@dataclass
class Case:
    """`trace` breaks `rule` on `subject` at operation `at`; with the rule off it shows `off`."""

    rule: str
    trace: str
    subject: type
    at: int
    off: str = "ok"
    promise: dict = field(default_factory=dict)
    neighbour: Odd = field(default_factory=Odd)

    @property
    def contract(self):
        return Contract(**{**EVERY_PROMISE, **self.promise})


TWO = "p0 = malloc 24; p1 = malloc 24"
TWICE = "p0 = malloc 8; free p0; double_free p0"
CASES = [
    Case("misuse", TWICE, broken.AcceptsDoubleFree, 2),
    Case("misuse", TWICE, broken.CrashesOnDoubleFree, 2, "crash"),
    Case("null", "p0 = malloc 8; free NULL", broken.CrashesOnFreeNull, 1, "crash"),
    Case("null", "p0 = realloc NULL 8; p1 = malloc 8", broken.RefusesReallocNull, 0, "errno"),
    Case("null", "p0 = realloc NULL 8", broken.CrashesOnReallocNull, 0, "crash"),
    Case("zero_size", "p0 = malloc 0; p1 = malloc 8", broken.NullForZero, 0),
    Case("zero_size", "p0 = malloc 0; p1 = malloc 8", broken.ZeroTakesNoRoom, 1),
    Case("zero_size", "p0 = malloc 0; p1 = malloc 0", broken.ZeroTakesNoRoom, 1),
    Case("zero_size", "p0 = malloc 0", Plain, 0, "ok", {"malloc_zero": "null"}, Odd(zero="null")),
    Case("zero_size", "p0 = malloc 8; p1 = realloc p0 0", broken.ReallocZeroGivesBlock, 1),
    Case("oom", "deny all; p0 = malloc 5000", broken.IgnoresRefusal, 1, "bounds"),
    Case("oom", "deny 1; p0 = malloc 5000", broken.CrashesWhenRefused, 1, "crash"),
    Case("oom", "p0 = malloc 70000", broken.CrashesWhenRefused, 0, "crash"),
    Case(
        "oom",
        "p0 = malloc 64; deny all; p1 = malloc 9000; deny none; free_all; p2 = malloc 64",
        broken.GivesUpForEver,
        5,
    ),
    Case("refusal", "p0 = calloc PTRDIFF_MAX+9 2", broken.CallocWraps, 0, "bounds"),
    Case("refusal", "p0 = malloc SIZE_MAX-8", broken.SizeWraps, 0, "bounds"),
    Case("refusal", "p0 = malloc PTRDIFF_MAX+1", broken.GrantsOverPtrdiff, 0, "bounds"),
    Case("refusal", "p0 = malloc 4097", broken.IgnoresMaxSize, 0, "ok", {"max_size": 4096},
         Odd(budget=4096)),
    Case("alignment", "p0 = malloc 24", broken.Misaligns, 0),
    Case("alignment", "p0 = malloc 24; p1 = aligned_alloc 64 24", broken.IgnoresAlignment, 1),
    Case("alignment", "p0 = memalign 48 24", broken.AcceptsInvalidAlignment, 0),
    Case("overlap", f"{TWO}; free p0; p2 = malloc 40", broken.FreesNeighbour, 3, "content"),
    Case("bounds", "p0 = malloc 4096; p1 = malloc 4104", broken.ReachesTooFar, 1, "ok"),
    Case("bounds", f"{TWO}; free p0; write p1", broken.Crops, 3, "crash"),
    Case("prefix", f"{TWO}; p2 = realloc p0 64", broken.LosesPrefix, 2),
    Case("zeroed", "p0 = malloc 24; free p0; p1 = calloc 3 8", broken.CallocDirty, 2),
    Case("survival", "p0 = malloc 24; p1 = realloc p0 70000", broken.FailedReallocScribbles, 1,
         "content"),
    Case("survival", "p0 = malloc 24; p1 = realloc p0 70000; p2 = malloc 24",
         broken.FailedReallocFrees, 2, "overlap"),
    Case("usable", "p0 = malloc 24", broken.UnderReportsUsable, 0),
    Case("content", f"{TWO}; free p0", broken.ScribblesBehind, 3),
    Case("errno", "p0 = malloc 70000", broken.ForgetsErrno, 0),
    Case("errno", "p0 = calloc SIZE_MAX 2", broken.WrongErrno, 0),
    Case("errno", "p0 = malloc 8; free p0", broken.FreeSetsErrno, 1),
    Case("hang", f"{TWO}; p2 = malloc 8", broken.ends(Outcome.HANG), 2),
    Case("abort", f"{TWO}; p2 = malloc 8", broken.ends(Outcome.ABORT), 2),
    Case("exit", f"{TWO}; p2 = malloc 8", broken.ends(Outcome.EXIT, status=3), 2),
    Case("crash", f"{TWO}; p2 = malloc 8", broken.ends(Outcome.SIGNAL, 11), 2),
    Case("reclaim", "p0 = malloc 60000; free p0; p1 = malloc 24; free p1; p2 = malloc 60000",
         broken.NeverMerges, 4),
    *(
        Case(rule, f"{TWO}; free p0; free p1", broken.objects(rule), 3)
        for rule in ("tiling", "tags", "adjacent_free", "free_list", "checksum")
    ),
]  # fmt: skip
IDS = [f"{case.rule}-{number}" for number, case in enumerate(CASES)]


def verdict_of(case, subject, rules=ALL, odd=None, contract=None):
    trace = from_text(case.trace.replace("; ", "\n"))
    contract = contract or case.contract
    return judge(trace, execute(trace, contract, subject, odd), contract, rules)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_rule_fires_on_its_violation(case):
    verdict = verdict_of(case, case.subject)
    assert (verdict.rule, verdict.violation.op) == (case.rule, case.at), verdict.all


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_rule_is_silent_on_the_correct_neighbour(case):
    assert verdict_of(case, Plain, odd=case.neighbour).all == ()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_rule_switched_off_does_not_fire(case):
    verdict = verdict_of(case, case.subject, ALL - {case.rule})
    assert verdict.rule == case.off, verdict.all
    assert case.rule not in {violation.rule for violation in verdict.all}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_message_names_the_operation(case):
    violation = verdict_of(case, case.subject).violation
    line = [*case.trace.split("; "), "at the end"][case.at]
    assert line in violation.message
    assert hex(BASE)[2:8] not in violation.message  # offsets, not addresses


def test_every_rule_but_the_dedicated_ones_has_a_case():
    dedicated = {"footprint", "model", "race"}
    assert {case.rule for case in CASES} == set(RULES) - dedicated


PROMISED = {"misuse", "zero_size", "errno", "reclaim"}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_promise_that_is_not_given_is_not_judged(case):
    verdict = verdict_of(case, case.subject, contract=Contract(alignment=1))
    if case.rule in PROMISED:
        assert case.rule not in {violation.rule for violation in verdict.all}


CLOSED = from_text("p0 = malloc 100\np1 = malloc 50\nfree p0\np2 = malloc 70\n")


def cycles(subject, trace, odd=None):
    contract = Contract(alignment=16, reclaims=True)
    return judge(trace, execute(trace, contract, subject, odd), contract)


def test_capacity_that_falls_in_each_cycle_is_reclaim():
    verdict = cycles(broken.Leaks, exhaust(CLOSED, 256, store=32768))
    assert verdict.rule == "reclaim"
    assert cycles(Plain, exhaust(CLOSED, 256, store=32768)).ok


def test_three_falls_are_not_enough():
    assert cycles(broken.Leaks, exhaust(CLOSED, 256, 32768, cycles=6)).ok


def test_steady_growth_is_footprint():
    assert cycles(broken.Leaks, cycle_trace(CLOSED, 256)).rule == "footprint"
    assert cycles(broken.Leaks, cycle_trace(CLOSED, 63)).ok
    assert cycles(Plain, cycle_trace(CLOSED, 256)).ok


def test_growth_that_comes_to_rest_is_no_footprint():
    odd = Odd(lazy=True, classes=True)
    assert cycles(Plain, cycle_trace(CLOSED, 256), odd).ok


def test_the_largest_block_must_come_back():
    contract = Contract(alignment=16, coalesces=True)
    trace = largest_block(CLOSED)
    judged = judge(trace, execute(trace, contract, broken.NeverMerges), contract)
    assert judged.rule == "reclaim"
    assert judge(trace, execute(trace, contract, Plain, Odd(lazy=True)), contract).ok


class Bump:
    """The exact model of the simulated allocator as long as nothing is freed."""

    def __init__(self, top):
        self.top = top

    def expected(self, op, seen):
        start = self.top
        self.top += -(-op.size // 16) * 16
        return start

    def usable(self, name):
        return None

    def held(self):
        return None

    def asked_pages(self):
        return None


def test_model_compares_every_address():
    trace = from_text("p0 = malloc 24\np1 = malloc 8\np2 = malloc 60\n")
    # Offset 0 stands for NULL, so the model is told of a base below the store.
    run = replace(execute(trace, Contract(), Plain), store_base=BASE - 16)
    assert judge(trace, run, Contract(), predict=lambda *_: Bump(16)).ok
    wrong = judge(trace, run, Contract(), predict=lambda *_: Bump(32))
    assert (wrong.rule, wrong.violation.op) == ("model", 0)
    assert judge(trace, run, Contract(), ALL - {"model"}, predict=lambda *_: Bump(32)).ok


@pytest.mark.parametrize(("size", "rule"), [("100", "hang"), ("4294967296", "ok")])
def test_clearing_gigabytes_is_no_hang(size, rule):
    """A library that clears what it takes from the system writes each page of it."""
    trace = from_text(f"p0 = calloc 1 {size}\n")
    left = Run((Observation(flags=Seen.LEFT),), outcome=Outcome.HANG, stage=Stage.CALL)
    assert judge(trace, left, Contract()).rule == rule


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"usable": 48}, "predicts 48 usable bytes, seen"),
        ({"held": 1}, "predicts that 1 bytes of pages are held"),
        ({"asked_pages": False}, "predicts that it does not ask for pages, seen that it asks"),
        ({"layout": [(0, 32, 0)]}, "the exact model has 32 bytes free at +0x0"),
    ],
)
def test_model_compares_sizes_pages_and_layout(what, told):
    class Telling(Bump):
        def usable(self, name):
            return what.get("usable")

        def held(self):
            return what.get("held")

        def asked_pages(self):
            return what.get("asked_pages")

        def layout(self):
            return what.get("layout", [(0, 32, 1)])

    trace = from_text("p0 = malloc 24\n")
    run = execute(trace, Contract(), Plain)
    base = BASE - 16
    run = replace(run, store_base=base, memory_known=True, layout=((base, 32, 1),))
    verdict = judge(trace, run, Contract(), predict=lambda *_: Telling(16))
    assert verdict.rule == "model"
    assert told in verdict.violation.message
    assert judge(trace, replace(run, layout=None), Contract(), predict=lambda *_: Bump(16)).ok


def test_black_box_comes_first_however_late():
    trace = from_text(
        "p0 = malloc 24\np1 = malloc 24\nfree p1\nfree p0\np2 = malloc 8\nfree NULL\n"
    )
    run = execute(trace, Contract(), crashing_after_objection())
    verdict = judge(trace, run, Contract(), predict=lambda *_: Bump(99))
    assert [violation.rule for violation in verdict.all] == ["null", "tags", "model"]


def crashing_after_objection():
    class Both(broken.objects("tags"), broken.CrashesOnFreeNull):
        pass

    return Both


def test_an_unknown_conjunct_is_tiling():
    trace = from_text("p0 = malloc 24\np1 = malloc 24\nfree p1\nfree p0\n")
    verdict = judge(trace, execute(trace, Contract(), broken.objects("colour")), Contract())
    assert verdict.rule == "tiling"
    assert "colour" in verdict.violation.message
