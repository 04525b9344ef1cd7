"""What a user types becomes a built subject, or one line that says what to do.

Discovery by name and the TOML format have tests of their own.
"""

from __future__ import annotations

import pytest

from allocator import artifacts, bugs, catalogue
from allocator.subject import SubjectError
from models.observation import Outcome
from models.rules import RULES
from tests.samples import BEST_FIT, HOSTILE, SUBJECTS, error_of, run

BUG = """
story = "Why it is wrong."
rule = "overlap"
file = "a.c"
find = '''one'''
replace = '''two'''
"""


def test_bundled_allocator():
    assert "best_fit" in catalogue.bundled()
    subject = catalogue.resolve("best_fit")
    assert subject.bundled
    assert subject.model == "best_fit"
    assert subject.has >= {"malloc", "calloc", "realloc", "aligned_alloc", "free", "usable_size"}
    assert subject.has >= {"check", "walk"}
    assert subject.contract.alignment == 16
    assert subject.contract.detects == {"double_free": "abort"}
    assert [path.name for path in subject.sources] == ["best_fit.c", "page_source_system.c"]
    assert run(subject).outcome == Outcome.FINISHED


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("best_fot", "no such bundled allocator (did you mean best_fit?)"),
        ("zzz", "no such bundled allocator (known: best_fit"),
        ("best_fit+bugs/", "no such planted bug (known: "),
        ("best_fit+bugs/coalesce-forgets-foter", "did you mean coalesce-forgets-footer?"),
        ("nowhere.c", "nowhere.c: no such file (bundled allocators: best_fit"),
        ("nowhere.so", "nowhere.so: no such file"),
        ("nowhere.toml", "nowhere.toml: no such file"),
        ("./best_fit", "no such file"),
        ("tests", "no such bundled allocator"),
        ("tests/", "not a file"),
        ("README.md", "README.md: "),
        ("", "no such bundled allocator"),
    ],
)
def test_specs_that_mean_nothing(spec, expected):
    assert expected in str(error_of(spec))


def test_file_of_another_kind(tmp_path):
    (tmp_path / "a.py").write_text("")
    assert "give a bundled name, x.toml, x.c or x.so" in str(error_of(str(tmp_path / "a.py")))


def test_prefix_is_for_files():
    assert "a prefix is for .c and .so" in str(error_of("best_fit", prefix="mem_"))
    subject = catalogue.resolve(str(SUBJECTS / "two_heaps.c"), prefix="slow_")
    assert subject.has == {"malloc", "free"}


def test_two_heaps_need_a_choice():
    error = str(error_of(str(SUBJECTS / "two_heaps.c")))
    assert "fast_ (fast_malloc), slow_ (slow_malloc): choose with --prefix" in error


def test_toml_subject_runs():
    subject = catalogue.resolve(str(SUBJECTS / "pool.toml"))
    assert subject.has == {"malloc", "free", "check"}
    seen = run(subject)
    assert seen.outcome == Outcome.FINISHED
    assert seen.arena_base < seen.observations[0].address < seen.arena_base + 16384


@pytest.mark.parametrize(
    ("name", "trace", "outcome"),
    [
        ("segfault.c", "p0 = malloc 1\n", Outcome.FINISHED),
        ("segfault.c", "".join(f"p{i} = malloc 8\n" for i in range(6)), Outcome.SIGNAL),
        ("spin.c", "p0 = malloc 8\n", Outcome.HANG),
        ("quitter.c", "p0 = malloc 4000\np1 = malloc 4000\n", Outcome.EXIT),
        ("recursion.c", "p0 = malloc 8\n", Outcome.SIGNAL),
    ],
)
def test_hostile_subjects_are_survived(name, trace, outcome):
    subject = catalogue.resolve(str(HOSTILE / name))
    seen = run(subject, trace)
    assert seen.outcome == outcome
    assert seen.outcome != Outcome.EXIT or seen.exit_status == 3


# ---- planted bugs ----


def test_every_planted_bug_fits_its_source():
    planted = catalogue.planted_bugs("best_fit")
    assert len(planted) >= 20
    for bug in planted:
        assert bug.rule in RULES
        assert bug.story.strip().endswith(".")
        folder = bugs.plant(bug, BEST_FIT)
        changed = (folder / bug.file).read_text()
        assert bug.find in (BEST_FIT / bug.file).read_text()
        assert changed != (BEST_FIT / bug.file).read_text()


def test_planted_bug_is_what_is_compiled():
    name = catalogue.planted_bugs("best_fit")[0].name
    good, bad = catalogue.resolve("best_fit"), catalogue.resolve(f"best_fit+bugs/{name}")
    assert bad.library != good.library
    assert bad.name == f"best_fit+bugs/{name}"
    assert bad.bundled
    assert bad.model == good.model
    assert bad.contract == good.contract
    assert bad.sources[0].is_relative_to(artifacts.directory())
    assert good.sources[0].is_relative_to(BEST_FIT)


def test_header_can_have_the_bug(tmp_path):
    (tmp_path / "a.h").write_text("#define ANSWER 1 /* one */\n")
    (tmp_path / "a.c").write_text('#include "a.h"\nint answer = ANSWER;\n')
    path = tmp_path / "bugs" / "overlap" / "b.toml"
    path.parent.mkdir(parents=True)
    path.write_text(BUG.replace('"a.c"', '"a.h"').replace("'one'", "'ANSWER 1'"))
    folder = bugs.plant(bugs.read(path), tmp_path)
    assert (folder / "a.h").read_text() == "#define two /* one */\n"
    assert (folder / "a.c").read_text() == (tmp_path / "a.c").read_text()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('story = "Why it is wrong."', "", "story takes a string"),
        ("story = ", "stori = ", "unknown key 'stori' (known: story, rule"),
        ('"overlap"', '"overlop"', "unknown rule 'overlop' (known: misuse"),
        ('"overlap"', '"zeroed"', "belongs in bugs/zeroed/"),
        ("replace = '''two'''", "replace = '''two'''\ndeep = 1", "deep takes true or false"),
        ("'''one'''", "'''one''", "b.toml: "),
    ],
)
def test_bug_files_that_say_nothing(tmp_path, old, new, expected):
    path = tmp_path / "bugs" / "overlap" / "b.toml"
    path.parent.mkdir(parents=True)
    assert old in BUG
    path.write_text(BUG.replace(old, new))
    with pytest.raises(SubjectError) as caught:
        bugs.read(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("one one", "find is there 2 times"), ("none", None), ("zero", "0 times")],
)
def test_find_must_be_there_once(tmp_path, source, expected):
    path = tmp_path / "bugs" / "overlap" / "b.toml"
    path.parent.mkdir(parents=True)
    path.write_text(BUG)
    (tmp_path / "a.c").write_text(source)
    if expected is None:
        assert (bugs.plant(bugs.read(path), tmp_path) / "a.c").read_text() == "ntwo"
        return
    with pytest.raises(SubjectError, match=expected):
        bugs.plant(bugs.read(path), tmp_path)


def test_bugs_have_different_names(tmp_path):
    for rule in ("overlap", "zeroed"):
        path = tmp_path / "bugs" / rule / "b.toml"
        path.parent.mkdir(parents=True)
        path.write_text(BUG.replace("overlap", rule))
    with pytest.raises(SubjectError, match="two planted bugs are named b"):
        bugs.planted(tmp_path)
