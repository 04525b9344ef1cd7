"""The guidance table on few executions: what it counts, what it says, what it does with mistakes.

Which way is better is not tested: that takes many seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci import bench_guidance
from ci.bench_guidance import BEGIN, END, WAYS, Figures, Kill, main, markdown, replaced, subjects

EASY = "explicit_list+bugs/copies-the-new-size"


@pytest.mark.parametrize("way", WAYS)
def test_every_way_finds_an_easy_bug(way, tmp_path, capsys):
    file = tmp_path / "kills.json"
    words = [EASY, "--way", way, "--seeds", "1", "--runs", "4000", "--json", str(file)]
    assert main(words) == 0
    (kill,) = json.loads(file.read_text())
    assert kill["found"]
    assert 1 <= kill["executions"] < 4000
    assert 0 < kill["cpu"] < 60
    assert f"{kill['executions']:,} / " in capsys.readouterr().out


@pytest.mark.parametrize("way", ["dense", "operations + states", "all"])
def test_a_correct_allocator_is_never_killed(way):
    (kill,) = bench_guidance.measure(["explicit_list"], [way], [1], 300)
    assert (kill.found, kill.executions) == (False, 300)


def kills(way: str, *counts: int | None, spec: str = "a+bugs/b") -> list[Kill]:
    return [
        Kill(spec, way, seed, found is not None, found or 900, 1.5)
        for seed, found in enumerate(counts, 1)
    ]


def test_medians_count_what_was_not_found():
    figures = Figures([*kills("bytes", 10, None, None), *kills("all", 1, 2, 3)])
    head, median, found = figures.rows()
    assert head == ["a: b", "900 / 1.50 s, 2 of 3 not found", "2 / 1.50 s"]
    assert median == ["median", "900 / 1.50 s", "2 / 1.50 s"]
    assert found == ["found", "1 of 3; in all 1,810 / 4 s", "3 of 3; in all 6 / 4 s"]


def test_the_median_row_is_over_the_subjects():
    figures = Figures(
        [*kills("all", 1), *kills("all", 5, spec="a+bugs/c"), *kills("all", 80, spec="a+bugs/d")]
    )
    assert figures.rows()[-2] == ["median", "5 / 1.50 s"]


def test_the_table_goes_between_its_markers():
    section = markdown(Figures(kills("all", 7)), 5, 100)
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(readme, section) == f"before\n{section}\nafter\n"
    assert "| a: b | 7 / 1.50 s |" in section
    assert "--seeds 5 --runs 100" in section
    with pytest.raises(ValueError, match="has no"):
        replaced("no markers", section)
    assert BEGIN in bench_guidance.README.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["--seeds", "0"],
        ["--first-seed", "0"],
        ["--runs", "0"],
        ["--write", EASY],
        ["--write", "--way", "all"],
    ],
)
def test_options_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "--" in capsys.readouterr().err


def test_the_seeds_follow_the_first(monkeypatch, tmp_path: Path):
    seeds: list[int] = []
    monkeypatch.setitem(WAYS, "dense", lambda _spec, seed, _runs: seeds.append(seed))
    assert main([EASY, "--way", "dense", "--first-seed", "7", "--seeds", "3"]) == 0
    assert seeds == [7, 8, 9]


def test_an_unknown_subject_is_one_line(capsys):
    assert main(["no_such_thing", "--way", "dense"]) == 2
    assert "no_such_thing" in capsys.readouterr().err.splitlines()[-1]


def test_ctrl_c_keeps_what_was_measured(monkeypatch, tmp_path: Path, capsys):
    turns = iter([12])

    def interrupted(*_words: object) -> int:
        for executions in turns:
            return executions
        raise KeyboardInterrupt

    monkeypatch.setitem(WAYS, "dense", interrupted)
    file = tmp_path / "kills.json"
    assert main([EASY, "--way", "dense", "--json", str(file)]) == 130
    assert [kill["executions"] for kill in json.loads(file.read_text())] == [12]
    assert "12 / " in capsys.readouterr().out


def test_the_subjects_are_there():
    specs = subjects()
    assert len(specs) == len(set(specs)) >= 14
    folder = Path(bench_guidance.__file__).parent.parent / "allocator"
    for spec in specs:
        name, _, bug = spec.partition("+bugs/")
        assert list((folder / name).glob(f"bugs/*/{bug}.toml")), spec
