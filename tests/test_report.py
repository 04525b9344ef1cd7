"""The text report: what a stranger needs is in it, and the picture is to scale.

Findings come from simulated allocators in pure Python.
"""

from __future__ import annotations

from dataclasses import replace

from models.check import check
from models.contract import Contract
from models.heap import Block
from models.picture import WIDTH, draw
from models.report import report
from models.trace import from_text
from tests import broken
from tests.simulated import BASE, execute

CONTRACT = Contract(alignment=16)
NONE = frozenset()


def finding(subject, text, contract=CONTRACT, **options):
    def run(trace, *, cpu_limit_ms):
        return execute(trace, contract, subject)

    return check(from_text(text), run, contract, subject="simulated", **options)


def test_report_tells_rule_operation_numbers_and_replay():
    found = finding(
        broken.LosesPrefix, "p0 = malloc 24\np1 = malloc 24\np2 = realloc p0 64\n", budget=0
    )
    text = report(found, CONTRACT, "out/prefix.trace")
    assert text.startswith("prefix: realloc lost a byte of min(old, new) (black-box rule; C23")
    assert "> p2 = realloc p0 64   <-- prefix" in text
    assert "# expect: prefix" in text
    assert "byte 0 (+0x40) of p2 (64 bytes at +0x40..+0x80)" in text
    assert "expected 0x" in text
    assert "replay: python fuzz/run.py simulated --replay out/prefix.trace" in text
    assert "reproduced in a fresh process" in text
    assert all(len(line) <= 160 for line in text.splitlines())
    picture = next(line for line in text.splitlines() if "heap:" in line)
    assert "[p1 24]" in picture.replace(" ]", "]").replace("[ ", "[").replace("  ", "")
    assert "p2!! 64" in picture
    assert "p0" not in picture


def test_report_of_the_check_at_the_end():
    found = finding(broken.ScribblesBehind, "p0 = malloc 24\np1 = malloc 24\nfree p0\n")
    text = report(found, CONTRACT)
    assert "> (the check at the end)   <-- content" in text
    assert "--replay FILE" in text


def test_report_of_a_long_trace_shows_its_ends_and_the_operation():
    ops = "".join(f"p{i} = malloc 8\n" for i in range(300))
    found = finding(broken.LosesPrefix, ops + "p300 = realloc p7 9\n", budget=0)
    text = report(found, CONTRACT)
    assert "operations ..." in text
    assert "> p300 = realloc p7 9   <-- prefix" in text
    assert len(text.splitlines()) < 50
    assert "blocks" in next(line for line in text.splitlines() if "heap:" in line)


def test_report_of_what_did_not_come_back():
    found = finding(broken.LosesPrefix, "p0 = malloc 24\np2 = realloc p0 64\n")
    assert "NOT reproduced" in report(replace(found, reproduced=False), CONTRACT)


def block(name, offset, size):
    return Block(name, BASE + offset, size, span=size)


def test_picture_is_to_scale():
    drawn = draw([block(0, 0, 1000), block(1, 1000, 2000), block(2, 4000, 1000)], BASE, NONE)
    assert drawn.startswith("+0x0 [")
    assert drawn.endswith("] +0x1388")
    cells = drawn[drawn.index("[") + 1 : drawn.rindex("]")].split("][")
    assert [cell.strip(" .") for cell in cells] == ["p0 1000", "p1 2000", "free", "p2 1000"]
    assert abs(len(cells[1]) - 2 * len(cells[0])) <= 3
    assert len(cells[2]) == len(cells[0]) == len(cells[3])


def test_picture_shows_an_overlap():
    drawn = draw([block(0, 16, 24), block(1, 24, 24)], BASE, frozenset({1}))
    assert drawn.startswith("+0x0 [..")
    assert "##" in drawn
    assert "p1!! 24" in drawn
    assert drawn.endswith("+0x30")


def test_picture_shows_a_block_within_another():
    drawn = draw([block(0, 0, 64), block(1, 16, 16)], BASE, frozenset({1}))
    assert drawn.index("p0 64") < drawn.index("##") < drawn.index("p1!! 16")


def test_picture_stays_in_a_line():
    many = [block(number, 32 * number, 16) for number in range(1000)]
    drawn = draw(many, BASE, frozenset({500}))
    assert "p500!! 16" in drawn
    assert drawn.isascii()
    assert len(drawn) <= WIDTH + 40


def test_picture_of_far_apart_blocks():
    drawn = draw([block(0, 0, 16), block(1, 2**39, 16)], BASE, NONE)
    assert len(drawn) <= WIDTH + 40
    assert "p0 16" in drawn
    assert "p1 16" in drawn


def test_picture_of_nothing():
    assert draw([], BASE, NONE) == "(nothing is live)"
