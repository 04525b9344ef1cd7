"""The textbook comparison on tiny workloads: its figures are sane, its command says what is wrong.

Speed is not tested: machines are noisy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from allocator.catalogue import gallery, resolve
from ci import bench_textbook
from ci.bench_textbook import BEGIN, END, PEER, TABLES, Bench, Cell, main, replaced
from ci.textbook_workloads import (
    GENERATED,
    RECORDED_FAMILY,
    Workload,
    generated,
    recorded,
    replayed,
)
from models.trace import ALLOCATING, Kind, Op, from_text

TINY = 600


@pytest.fixture(autouse=True)
def only_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded traces are not tiny."""
    monkeypatch.setattr(bench_textbook, "recorded", list)


def measured(tmp_path: Path, *words: str, code: int = 0) -> list[Cell]:
    """What the command writes as JSON."""
    file = tmp_path / "figures.json"
    options = ["--ops", str(TINY), "--rounds", "1", "--seconds", "1", "--json", str(file)]
    assert main([*words, *options]) == code
    return [Cell(**each) for each in json.loads(file.read_text())]


def cells_of(spec: str, workloads: Sequence[Workload], folder: Path) -> dict[str, Cell]:
    return {cell.workload: cell for cell in Bench(workloads, folder, rounds=1).row(spec, 0.1)}


# ---- workloads ----


def played(ops: Sequence[Op]) -> int:
    """The most bytes live; each operation is on a live block, none makes a name that is live."""
    live: dict[int, int] = {}
    most = 0
    for op in ops:
        if op.kind in (Kind.FREE, Kind.REALLOC):
            assert op.first in live
            del live[op.first]
        if op.kind in ALLOCATING:
            assert op.name not in live
            live[op.name] = op.size
            most = max(most, sum(live.values()))
    assert not live
    return most


@pytest.mark.parametrize("workload", generated(TINY), ids=lambda workload: workload.name)
def test_a_workload_is_closed_and_of_its_length(workload: Workload) -> None:
    assert workload.payload == played(workload.ops) > 0
    assert TINY * 0.9 <= len(workload.ops) <= TINY * 1.1 + 32


def test_workloads_are_the_same_each_time() -> None:
    assert generated(TINY) == generated(TINY)
    assert [workload.name for workload in generated(TINY)] == list(GENERATED)


def test_a_recorded_trace_becomes_a_workload(tmp_path: Path) -> None:
    text = """# Recorded: some.
p0 = malloc 100
p1 = calloc 3 10
p2 = realloc p0 50
p3 = aligned_alloc 64 128
p4 = realloc NULL 7
deny all
free NULL
free p1
write p2
free_all
p5 = realloc NULL 0
p6 = realloc p5 0
"""
    (tmp_path / "some.trace").write_text(text)
    workload = recorded(tmp_path)[0]
    assert workload == replayed(from_text(text), "some")
    assert workload.story == "recorded: some"
    assert workload.payload == played(workload.ops) == 50 + 30 + 128 + 7
    assert not {Kind.DENY, Kind.WRITE, Kind.FREE_ALL} & {op.kind for op in workload.ops}
    assert recorded(tmp_path / "nowhere") == []


# ---- figures ----


def test_all_allocators_are_listed_and_their_figures_sane(tmp_path: Path) -> None:
    cells = measured(tmp_path)
    assert list(dict.fromkeys(cell.subject for cell in cells)) == [PEER, *gallery()]
    assert len(cells) == len(GENERATED) * (1 + len(gallery()))
    for cell in cells:
        assert cell.error is None, cell
        assert cell.speed > 0
        has_arena = cell.subject != PEER and resolve(cell.subject).contract.arena
        assert (cell.fragmentation is None) == bool(has_arena)
        assert has_arena or cell.fragmentation >= 1
        assert (cell.requests is None) == (bool(has_arena) or cell.subject == PEER)


def test_memory_is_the_same_each_time(tmp_path: Path) -> None:
    workloads = generated(TINY)
    once, again = (cells_of("tlsf", workloads, tmp_path) for _ in range(2))
    assert [cell.fragmentation for cell in once.values()] == [
        cell.fragmentation for cell in again.values()
    ]


def test_what_is_never_used_again_shows(tmp_path: Path) -> None:
    """bump gives a block's memory again only when all around it is free, tlsf at once."""
    workloads = [each for each in generated(4000) if each.name == "steady"]
    bump, tlsf = (cells_of(name, workloads, tmp_path)["steady"] for name in ("bump", "tlsf"))
    assert bump.fragmentation > 3 * tlsf.fragmentation


def test_the_heap_is_the_pages_that_are_granted(tmp_path: Path) -> None:
    """One block of 5000 bytes and its overhead are two pages, in one call."""
    ops = (Op(Kind.MALLOC, 0, 5000), Op(Kind.FREE, first=0))
    cell = cells_of("tlsf", [Workload("one", "", ops, 5000)], tmp_path)["one"]
    assert cell.fragmentation == 2 * 4096 / 5000
    assert cell.requests == 500


# ---- the command ----


def test_what_does_not_come_to_its_end_is_told(tmp_path: Path, capsys) -> None:
    cells = measured(tmp_path, "tlsf+bugs/second-bit-stays", code=2)
    mine = [cell for cell in cells if cell.subject != PEER]
    assert {cell.error for cell in mine} == {"crashed"}
    assert "crashed" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--ops", "1"], ["--rounds", "x"], ["tlsf", "--write"]])
def test_wrong_words_are_one_line(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_subject_is_one_line(tmp_path: Path, capsys) -> None:
    measured(tmp_path, "no_such_allocator", code=2)
    assert "no such bundled allocator" in capsys.readouterr().err


def test_an_interrupt_keeps_what_was_measured(tmp_path: Path, monkeypatch) -> None:
    def interrupted(self, spec, seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "row", interrupted)
    cells = measured(tmp_path, "tlsf", code=130)
    assert [cell.subject for cell in cells] == [PEER] * len(GENERATED)


# ---- the page ----


def test_the_section_takes_the_place_of_the_last_one(tmp_path: Path, monkeypatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(bench_textbook, "GALLERY", page)
    monkeypatch.setattr(bench_textbook, "gallery", lambda: ["tlsf", "explicit_list"])
    ops = (Op(Kind.MALLOC, 0, 9), Op(Kind.FREE, first=0))
    other = Workload("other", "story of the other", ops, 9, RECORDED_FAMILY)
    monkeypatch.setattr(bench_textbook, "recorded", lambda: [other])
    measured(tmp_path, "--write")
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text.split()
    rows = [line for line in text.splitlines() if line.startswith("| `explicit_list` |")]
    columns = [line.count("|") - 2 for line in rows]
    assert columns == [len(GENERATED)] * len(TABLES) + [1] * len(TABLES)
    assert "- `other`: story of the other" in text


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_without_the_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no"):
        replaced(text, "figures")


def test_the_gallery_has_the_markers() -> None:
    assert replaced(bench_textbook.GALLERY.read_text(), "")
