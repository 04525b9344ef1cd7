"""Every heap of a small memory, natively: it closes, finds planted bugs, and says where it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from allocator import catalogue
from allocator.executor import open_executor
from allocator.region import Choice
from models.trace import Kind
from proofs.closure import closure

ROOT = Path(__file__).resolve().parent.parent
KR = str(ROOT / "tests" / "subjects" / "foreign" / "kr.c")
POOL = str(ROOT / "tests" / "subjects" / "pool.toml")


@pytest.mark.parametrize("name", ["explicit_list", "first_fit", "sbrk_list", KR, POOL])
def test_a_correct_allocator_closes_and_nothing_is_wrong(name):
    found = closure(catalogue.resolve(name), budget=30_000)
    assert found.closed, [menu.told() for menu in found.menus]
    assert found.menus[0].tally.heaps > 5
    assert found.menus[0].tally.operations > 5 * found.menus[0].tally.heaps


@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        ("copies-too-little", "prefix"),
        ("no-back-link", "free_list"),
        ("aligns-the-header", "crash"),
        ("split-forgets-the-footer", "tags"),
    ],
)
def test_a_planted_bug_is_found_with_a_short_program(bug, rule):
    found = closure(catalogue.resolve(f"explicit_list+bugs/{bug}"))
    assert found.finding, [menu.told() for menu in found.menus]
    assert found.finding.rule == rule
    assert found.finding.reproduced
    assert len(found.finding.trace) <= 4


def test_a_budget_that_is_used_up_is_not_closed():
    found = closure(catalogue.resolve("explicit_list"), budget=40)
    assert not found.closed
    assert all("not closed" in menu.told() for menu in found.menus)


def test_programs_that_lead_to_the_same_heap_are_one():
    """One block, freed and taken again as often as one likes, makes two heaps and the empty one."""
    choices = [Choice(Kind.FREE), Choice(Kind.MALLOC, 40)]
    with open_executor(catalogue.resolve("explicit_list")) as executor:
        tally = executor.enumerate(choices, 1000, 1000, live=1, store=4096)
    assert (tally.heaps, tally.waiting, tally.longest) == (3, 0, 2)


def test_the_command_says_the_level_and_writes_the_trace(tmp_path):
    out = tmp_path / "closure.json"
    words = ["explicit_list+bugs/no-back-link", "--enumerate", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "proofs/run.py", *words], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "level 2" in done.stdout
    (subject,) = json.loads(out.read_text())["subjects"]
    assert (subject["level"], subject["verdict"], subject["rule"]) == (2, "refuted", "free_list")
    assert "# expect: free_list" in subject["trace"]
