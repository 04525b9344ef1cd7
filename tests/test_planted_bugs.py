"""Each planted bug is caught in its layer, under the rule it names, and by that rule's doing.

By its saved trace, so that this is quick and the same each time; test_batch.py finds bugs anew.
"""

from __future__ import annotations

import pytest

from allocator.bugs import PlantedBug
from allocator.catalogue import bundled, planted_bugs
from ci.killing.rules import Witness, layer_rules, verdict
from models.rules import RULES

BUGS = [bug for name in bundled() for bug in planted_bugs(name)]


def identity(bug: PlantedBug) -> str:
    return f"{bug.allocator}/{bug.rule}/{bug.name}"


@pytest.mark.parametrize("bug", BUGS, ids=identity)
def test_it_is_caught_in_its_layer(bug: PlantedBug) -> None:
    assert verdict(bug, layer_rules(bug.rule)).rule == bug.rule


@pytest.mark.parametrize("bug", BUGS, ids=identity)
def test_without_its_rule_it_survives_or_is_told_worse(bug: PlantedBug) -> None:
    """Nothing stands in for the rule: what else is seen comes later, or says less."""
    rules = layer_rules(bug.rule)
    seen = Witness(bug, verdict(bug, rules), verdict(bug, rules - {bug.rule}))
    assert seen.survives_or_worse, seen.told()


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"race"}))  # test_threads.py has that one
def test_each_rule_has_a_bug(rule: str) -> None:
    assert any(bug.rule == rule for bug in BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=identity)
def test_its_story_is_short(bug: PlantedBug) -> None:
    sentences = bug.story.replace("\n", " ").count(". ") + 1
    assert 1 <= sentences <= 4
    assert bug.story.strip().endswith(".")


def test_one_bug_is_deep() -> None:
    """Coverage guidance is measured on it; see ci/."""
    assert any(bug.deep for bug in BUGS)
