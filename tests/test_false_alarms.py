"""The command that looks for false alarms: what it counts, leaves out, tells and returns.

Whether the bundled allocators are correct, test_conformance.py and the command itself say.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from allocator.catalogue import resolve
from ci import correct_run, false_alarms
from ci.correct_run import Row, examine
from ci.exercised import occasions
from fuzz.bench import Bench
from models.trace import from_text

BUG = "explicit_list+bugs/copies-too-little"


def test_occasions_are_counted_by_the_premise_of_each_rule() -> None:
    trace = from_text(
        "p0 = malloc 100\np1 = calloc 3 8\np2 = realloc p0 500\nfree NULL\np3 = malloc SIZE_MAX\n"
        "p4 = malloc 0\ndeny all\np5 = malloc 70000\np6 = realloc p2 90000\nfree p1\n"
        "double_free p1\n"
    )
    with Bench(resolve("explicit_list")) as bench:
        found = occasions(trace, bench.execute(trace))
    expected = {"alignment": 4, "zeroed": 1, "prefix": 1, "survival": 1, "null": 1, "refusal": 1,
                "zero_size": 1, "oom": 2, "misuse": 1, "content": 4, "footprint": 0}  # fmt: skip
    assert {rule: found[rule] for rule in expected} == expected


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Row:
    return examine(BUG, 300_000, 1, tmp_path_factory.mktemp("broken"))


def test_a_finding_is_told_and_its_function_left_out(broken: Row) -> None:
    assert "prefix" in {each["rule"] for each in broken.unexplained}
    assert broken.skipped["realloc"].startswith("left out after a finding")
    assert false_alarms.status([broken]) == 1
    assert "UNEXPLAINED" in false_alarms.markdown([broken], 1)


def test_a_known_bug_of_theirs_is_told_and_is_no_alarm(
    broken: Row, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rules = {each["rule"] for each in broken.findings}
    known = [{"subject": BUG, "rule": rule, "version": "1", "trace": "p0 = malloc 1",
              "evidence": "their page says so"} for rule in rules]  # fmt: skip
    monkeypatch.setattr(correct_run, "real_bugs", lambda: known)
    again = examine(BUG, 1, 1, tmp_path)
    assert again.findings
    assert not again.unexplained
    assert false_alarms.status([again]) == 0
    assert "(known)" in false_alarms.line(again)


def test_a_correct_allocator_has_no_finding(tmp_path: Path) -> None:
    row = examine("sbrk_list", 100_000, 1, tmp_path)
    assert row.operations >= 100_000
    assert (row.error, row.findings) == ("", [])
    assert row.occasions["model"] > 1000
    assert row.skipped["memalign"] == "it has none"


def test_what_cannot_be_run_is_status_2(tmp_path: Path) -> None:
    row = examine("no_such_allocator", 1, 1, tmp_path)
    assert row.error
    assert false_alarms.status([row]) == 2


def test_the_tables_go_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text(f"before\n{false_alarms.BEGIN}\nold\n{false_alarms.END}\nafter\n")
    false_alarms.write("new", path)
    text = path.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nnew\n" in text


def test_each_real_bug_has_its_evidence() -> None:
    for bug in correct_run.real_bugs():
        assert set(bug) == {"subject", "version", "rule", "trace", "evidence"}
        assert from_text(bug["trace"] + "\n").ops
