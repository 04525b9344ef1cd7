"""The state machine: clean on explicit_list in lock step, and able to fail.

Which rules it finds on other allocators, test_conformance.py shows.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from allocator.catalogue import resolve
from fuzz.bench import Bench
from models.trace import Kind, Op
from tests import strategies
from tests.stateful import machine_for
from tests.verdicts import RuleBroken

# Wide promises, so that few sessions are enough; the rule is the one that the machine meets.
FOUND = {
    "usable-rounded-down": "usable",
    "errno-not-set": "errno",
    "free-clobbers-errno": "errno",
    "free-null-dereferences": "null",
    "coalesce-forgets-unlink": None,
    "used-footer-forgotten": None,
    "enters-at-the-tail": "model",
    "generous-split": "model",
}


def test_explicit_list_in_lock_step() -> None:
    with Bench(resolve("explicit_list")) as bench:
        run_state_machine_as_test(machine_for(bench))


@pytest.mark.parametrize("name", FOUND)
def test_the_machine_finds_planted_bugs(name: str) -> None:
    search = settings(max_examples=500, derandomize=True, phases=[Phase.generate])
    with Bench(resolve(f"explicit_list+bugs/{name}")) as bench:
        with pytest.raises(RuleBroken) as broken:
            run_state_machine_as_test(machine_for(bench), settings=search)
        assert FOUND[name] in (None, broken.value.rule)


def test_a_layout_that_differs_is_seen_before_any_address_does() -> None:
    """The machine looks at the whole layout, not only at what the calls return."""
    with Bench(resolve("explicit_list+bugs/generous-split")) as bench:
        session = machine_for(bench)()
        session.open_heap(0)
        session.do(Op(Kind.MALLOC, 0, 72))
        session.do(Op(Kind.MALLOC, 1, 24))
        session.do(Op(Kind.FREE, first=0))
        with pytest.raises(RuleBroken, match=r"usable bytes|the walk shows"):
            session.do(Op(Kind.MALLOC, 2, 40))


def test_the_machine_has_a_rule_for_each_kind_of_operation() -> None:
    with Bench(resolve("explicit_list")) as bench:
        machine = machine_for(bench)
        names = {rule.function.__name__ for rule in machine().rules}
    exceptions = {Kind.MEMALIGN, Kind.POSIX_MEMALIGN, Kind.INTERIOR_FREE, Kind.THREAD}
    for kind in set(strategies.menu(bench.subject)) - exceptions:
        assert kind.name.lower() in names
