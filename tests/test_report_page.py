"""The pages: what lies where and when, how it is laid out, and that a page needs nothing else.

Runs come from simulated allocators in pure Python; tests/test_browser.py has the real browser.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from allocator.catalogue import resolve
from allocator.lines import lines_of_counters
from allocator.walks import walked
from fuzz import run
from fuzz.census import _coverage, census
from fuzz.report.campaign import campaign, source_file
from fuzz.report.chart import ceiling, line_chart
from fuzz.report.drawing import LEFT, WIDTH, over_time
from fuzz.report.exhibit import exhibit
from fuzz.report.page import Section, render
from fuzz.report.plain_words import PLAIN
from fuzz.report.scale import Scale
from fuzz.report.timeline import FREE, LIVE, OWN, timeline
from fuzz.results import Result, pulse_of
from models.contract import Contract
from models.judge import judge
from models.rules import RULES
from models.trace import from_text
from models.verdict import Verdict
from tests import broken
from tests.pages import Outside
from tests.samples import SUBJECTS
from tests.simulated import Plain, execute

CONTRACT = Contract(alignment=16)
SESSION = "p0 = malloc 24\np1 = malloc 100\nfree p0\np2 = realloc p1 200\nfree_all\np3 = malloc 8\n"
SVG = "{http://www.w3.org/2000/svg}"


def shown(text: str, subject: type = Plain, **options: object):
    """The timeline of a trace on a simulated allocator."""
    trace = from_text(text)
    seen = execute(trace, CONTRACT, subject)
    return timeline(trace, seen, judge(trace, seen, CONTRACT), CONTRACT, **options)


def section(text: str, subject: type = Plain) -> Section:
    trace = from_text(text)
    seen = execute(trace, CONTRACT, subject)
    one = exhibit("one", trace, seen, judge(trace, seen, CONTRACT), CONTRACT)
    return Section("simulated <&>", "ok", "it ran", [one])


def page(*sections: Section) -> str:
    return render("search.html", title="Search", lead="", command="", sections=sections, meaning="")


def test_lives_begin_and_end_with_their_operations():
    lives = {life.name: (life.born, life.died, life.size) for life in shown(SESSION).lives}
    assert lives == {0: (1, 3, 24), 1: (2, 4, 100), 2: (4, 5, 200), 3: (6, 7, 8)}


def test_states_tell_what_is_there():
    it = shown(SESSION)
    assert [sorted(life.name for life in it.at(state)) for state in range(7)] == [
        *([], [0], [0, 1], [1], [2], [], [3])
    ]
    assert it.in_use == (0, 24, 124, 100, 200, 0, 8)
    assert (it.first, it.last, it.broken) == (0, 6, None)


def test_the_violation_has_its_state_and_its_blocks():
    it = shown("p0 = malloc 24\np1 = malloc 24\np2 = realloc p0 64\n", broken.LosesPrefix)
    assert it.violation.rule == "prefix"
    assert (it.violation.op, it.broken, it.named) == (2, 3, {2})
    columns = [box for box in over_time(it).boxes if box.style == "violation"]
    assert [box.title for box in columns] == ["operation 2 breaks prefix"]
    step = (WIDTH - LEFT - 16) / 4
    assert columns[0].x == pytest.approx(LEFT + 3 * step)


def test_layouts_show_headers_free_space_and_what_is_lost():
    text = "p0 = malloc 24\nfree p0\n"
    trace = from_text(text)
    seen = execute(trace, CONTRACT, Plain)
    at = seen.observations[0].address - seen.base
    used, free = [(at - 16, 64, 1), (at + 48, 32, 0)], [(at - 16, 64, 1), (at + 48, 32, 0)]
    it = timeline(trace, seen, Verdict(), CONTRACT, [[], used, free], "its walk")
    (live,) = [life for life in it.lives if life.kind == LIVE]
    assert live.parts == (
        (at - 16, at, "header"), (at, at + 24, "payload"), (at + 24, at + 48, "slack")
    )  # fmt: skip
    assert [(life.born, life.died) for life in it.lives if life.kind == FREE] == [(1, 3)]
    # A block that the layout calls used, and nobody holds, is the allocator's own or lost.
    assert [(life.low, life.born) for life in it.lives if life.kind == OWN] == [(at - 16, 2)]


def test_an_operation_that_did_not_come_back_is_told():
    it = shown("p0 = malloc 24\nfree NULL\np1 = malloc 8\n", broken.CrashesOnFreeNull)
    assert it.violation.rule in ("null", "crash")
    assert it.steps[-1].answer == "did not come back"
    assert it.last == it.violation.op + 1


def test_a_long_trace_is_shown_from_near_its_end():
    ops = "".join(f"p{name} = malloc 8\n" for name in range(2000))
    it = shown(ops)
    assert (it.first, it.last) == (1700, 2000)
    assert len(it.held) == len(it.in_use) == 301
    assert it.left_out == 500
    assert all(1700 <= life.born <= 2000 for life in it.lives)


def test_a_block_larger_than_memory_is_drawn_small():
    it = shown("p0 = malloc SIZE_MAX-3\n", broken.SizeWraps)
    assert it.violation.rule == "refusal"
    assert max(life.high - life.low for life in it.lives) <= 4096


def test_the_scale_is_true_within_a_run_and_short_between():
    scale = Scale([(0, 100), (100, 200), (10_000, 10_100)], [(0, 1 << 20)])
    start, length = scale.span(0, 100)
    assert scale.span(100, 200) == pytest.approx((length, length))
    assert scale.span(10_000, 10_100)[1] == pytest.approx(length)
    assert scale.place(9_999) - scale.place(200) < 0.1
    assert scale.place(1 << 20) == pytest.approx(1.0)
    assert start == 0
    places = [scale.place(address) for address in range(0, 1 << 20, 997)]
    assert places == sorted(places)


def test_every_rule_has_plain_words():
    assert set(PLAIN) == set(RULES)


@pytest.mark.parametrize(
    ("value", "round_one"), [(0, 3), (3, 3), (4, 6), (7, 15), (16, 30), (1234, 1500)]
)
def test_axes_end_in_round_numbers(value, round_one):
    assert ceiling(value) == round_one


def test_a_chart_rises_where_counts_do():
    drawing = line_chart([(0, 0), (1, 10), (2, 40)], "says")
    (series,) = [line for line in drawing.lines if line.style == "series"]
    ys = [y for _, y in series.points]
    assert ys == sorted(ys, reverse=True)
    assert len(set(ys)) == 3


def test_a_page_is_well_formed_and_needs_nothing_else():
    text = page(
        section(SESSION), section("p0 = malloc 24\np1 = realloc p0 64\n", broken.LosesPrefix)
    )
    tree = ElementTree.fromstring(text)
    told = " ".join(tree.itertext())
    assert "simulated <&>" in told
    assert "realloc lost a byte of min(old, new)" in told
    assert "C23 7.24.3.7" in told
    assert "\N{BLACK DOWN-POINTING TRIANGLE} prefix" in told
    assert Outside(text).found == []
    assert Outside("<script src='x.js'></script>").found
    assert Outside("<style>@import 'x.css'</style>").found


def test_headings_go_down_one_at_a_time():
    tree = ElementTree.fromstring(page(section(SESSION)))
    levels = [
        int(each.tag[-1]) for each in tree.iter() if each.tag[-2:] in ("h1", "h2", "h3", "h4")
    ]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_page_of_a_trace_without_operations():
    tree = ElementTree.fromstring(page(section("")))
    assert "breaks no rule" in " ".join(tree.itertext())


def test_source_lines_are_reached_missed_or_no_code(tmp_path):
    (tmp_path / "x.c").write_text("int f(int x)\n{\n\treturn x\x0c ? 1 : 2;\n}\n")
    file = source_file(tmp_path / "x.c", {1: 5, 3: 0})
    assert [line.style for line in file.lines] == ["reached", "", "missed", "", ""]
    assert (file.reached, file.code, file.percent) == (1, 2, 50)
    told = campaign([], [], {"malloc": 3, "free": 1}, {tmp_path / "x.c": {1: 5, 3: 0}}, 5)
    assert told.mix == (("malloc", 3, 0.75), ("free", 1, 0.25))
    text = page(Section("x", "ok", "", campaign=told))
    assert "1 of 2" in " ".join(" ".join(ElementTree.fromstring(text).itertext()).split())


def test_a_pulse_is_kept_short():
    result = Result("x")
    told = pulse_of(result, lambda text: None)
    for count in range(5000):
        result.executions = count
        told("")
    assert len(result.pulse) <= 401
    assert result.pulse[0] == (0.0, 0)
    assert [count for _, count in result.pulse] == sorted(count for _, count in result.pulse)


def test_coverage_is_read_from_the_search_log(tmp_path):
    (tmp_path / "log").write_text(
        "INFO: x\n#2\tINITED cov: 9 ft: 9\n#50\tNEW    cov: 20 ft: 2\n"
        "#3\tINITED cov: 15 ft: 1\n#10\tREDUCE cov: 21 ft: 30\n"
    )
    assert list(_coverage(tmp_path / "log")) == [(2, 9), (50, 20), (53, 20), (60, 21)]


# ---- with real allocators ----


def test_a_walk_shows_the_blocks_of_each_state():
    trace = from_text("p0 = malloc 24\np1 = malloc 24\nfree p0\n")
    layouts = walked(resolve("explicit_list"), trace)
    assert [[used for *_, used in layout] for layout in layouts] == [
        [],
        [1, 0],
        [1, 1, 0],
        [0, 1, 0],
    ]
    assert walked(resolve(str(SUBJECTS / "pool.toml")), trace) == []


def test_lines_of_counters_are_those_of_the_source():
    source = SUBJECTS / "pool.c"
    subject = resolve(str(SUBJECTS / "pool.toml"), lines=True)
    places = {place for each in lines_of_counters(subject.library) for place in each}
    assert {path for path, _ in places} == {source}
    text = source.read_text().splitlines()
    told = {text[line - 1].strip() for _, line in places}
    assert "chunk->size += above->size;" in told
    assert not told & {"", "struct pool {"}


def test_a_census_finds_the_line_that_nothing_reaches(tmp_path):
    file = tmp_path / "mine.c"
    file.write_text(
        "#include <stddef.h>\nvoid *sbrk(long);\n"
        "void *malloc(size_t size)\n{\n    if (size > (size_t)-5)\n        return NULL;\n"
        "    if (size == 123456789)\n        return (void *)64;\n"
        "    void *block = sbrk((size + 15) & ~15L);\n"
        "    return block == (void *)-1 ? NULL : block;\n}\n"
        "void free(void *block) { (void)block; }\n"
    )
    (tmp_path / "saved").mkdir()
    told = census(str(file), None, tmp_path / "out", tmp_path / "saved", 1, 8)
    assert told.programs > 50
    assert told.operations["malloc"] > 1000
    (lines,) = told.lines.values()
    assert lines[9] > 50
    assert lines[8] == 0


@pytest.mark.parametrize("subject", ["explicit_list", "explicit_list+bugs/copies-too-little"])
def test_the_command_writes_the_page(subject, tmp_path, capsys):
    file = tmp_path / "deep" / "page.html"
    words = [subject, "--runs", "150", "--seed", "1", "--no-guided", "--out", str(tmp_path / "out")]
    status = run.main([*words, "--report", str(file)])
    assert status == ("bugs" in subject)
    text = file.read_text()
    tree = ElementTree.fromstring(text)
    told = " ".join(" ".join(tree.itertext()).split())
    assert "Lines reached" in told
    assert "Executions over time" in told
    assert ("Before operation 1" in told) == ("bugs" in subject)
    assert Outside(text).found == []
    assert f"report: {file}" in capsys.readouterr().out


def test_the_strip_beside_a_verdict(tmp_path, capsys):
    trace = Path(__file__).parent / "traces" / "explicit_list" / "coalesce-forgets-footer.trace"
    assert run.main(["--replay", str(trace)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().endswith("]")
               and set(line.strip()) <= set("[]#.!X")]  # fmt: skip
    assert "X" in line
    assert "!" in line
    assert len(line) <= 80
