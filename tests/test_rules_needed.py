"""Is every rule needed?  When a planted bug is a witness of that, and when it is not.

The witnesses themselves are test_planted_bugs.py's.
"""

from __future__ import annotations

import pytest

from allocator.bugs import PlantedBug
from allocator.catalogue import HERE
from ci.killing.rules import Witness, empty
from models.verdict import Verdict, Violation


def seen(rule: str, with_rule: str, without: tuple[str, int] | None) -> Witness:
    """What a bug of `rule` shows at operation 5, and at which without the rule."""
    path = HERE / "pool" / "bugs" / rule / "bug.toml"
    bug = PlantedBug("bug", "Story.", rule, "x.c", "a", "b", False, "", path)
    second = Verdict(Violation(*without, "")) if without else Verdict()
    return Witness(bug, Verdict(Violation(with_rule, 5, "")), second)


@pytest.mark.parametrize(
    ("with_rule", "without", "needed"),
    [
        ("overlap", None, True),
        ("overlap", ("content", 5), True),
        ("overlap", ("misuse", 6), True),
        ("overlap", ("misuse", 5), False),
        ("overlap", ("content", 4), False),
        ("content", None, False),
    ],
)
def test_a_rule_is_needed_where_nothing_stands_in(with_rule, without, needed) -> None:
    witness = seen("overlap", with_rule, without)
    assert witness.needs_it == needed
    found = {"overlap": [witness], "hang": []}
    assert empty(found) == (["hang"] if needed else ["overlap", "hang"])


def test_a_bug_without_a_trace_is_no_witness() -> None:
    bug = seen("overlap", "overlap", None).bug
    assert not Witness(bug, error="no such file").needs_it
