"""Each planted bug is caught in its layer, under the rule it names, and by that rule's doing.

By its saved trace, so that this is quick and the same each time; test_batch.py finds bugs anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from allocator.bugs import PlantedBug
from allocator.catalogue import planted_bugs, resolve
from allocator.executor import open_executor
from fuzz.bench import exact_model
from models.judge import judge
from models.rules import ALL, BLACK_BOX, BLACK_BOX_RULES, MODEL, PRECEDENCE, RULES
from models.trace import from_text
from models.verdict import Verdict

TRACES = Path(__file__).parent / "traces" / "best_fit"
BUGS = planted_bugs("best_fit")
# `checksum` belongs to allocators that keep one.
NOT_BEST_FIT = {"checksum"}


def layer_rules(rule: str) -> frozenset[str]:
    """The rules up to and including the layer of `rule`."""
    layer = RULES[rule].layer
    if layer == BLACK_BOX:
        return BLACK_BOX_RULES
    return ALL if layer == MODEL else ALL - {"model"}


def verdict(bug: PlantedBug, rules: frozenset[str]) -> Verdict:
    """The verdict on the bug's saved trace; nobody looks inside where no white-box rule is on."""
    trace = from_text((TRACES / f"{bug.name}.trace").read_text())
    subject = resolve(f"best_fit+bugs/{bug.name}")
    with open_executor(subject, sandbox=True) as executor:
        run = executor.run(trace, check="none" if rules <= BLACK_BOX_RULES else "each")
    return judge(trace, run, subject.contract, rules, exact_model(subject))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.rule}/{bug.name}")
def test_it_is_caught_in_its_layer(bug: PlantedBug) -> None:
    assert verdict(bug, layer_rules(bug.rule)).rule == bug.rule


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.rule}/{bug.name}")
def test_without_its_rule_it_survives_or_is_told_worse(bug: PlantedBug) -> None:
    """Nothing stands in for the rule: what else is seen comes later, or says less."""
    rules = layer_rules(bug.rule)
    with_rule = verdict(bug, rules).violation
    without = verdict(bug, rules - {bug.rule})
    if without.violation:
        assert without.rule != bug.rule
        told = (without.violation.op, PRECEDENCE[without.rule])
        assert told > (with_rule.op, PRECEDENCE[bug.rule])


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in NOT_BEST_FIT])
def test_each_rule_has_a_bug(rule: str) -> None:
    assert any(bug.rule == rule for bug in BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_story_is_short(bug: PlantedBug) -> None:
    sentences = bug.story.replace("\n", " ").count(". ") + 1
    assert 1 <= sentences <= 4
    assert bug.story.strip().endswith(".")


def test_one_bug_is_deep() -> None:
    """Coverage guidance is measured on it; see ci/."""
    assert any(bug.deep for bug in BUGS)
