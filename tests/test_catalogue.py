"""What a user types becomes a built subject, or one line that says what to do.

Discovery by name and the TOML format have tests of their own.
"""

from __future__ import annotations

import pytest

from allocator import artifacts, bugs, catalogue
from allocator.subject import SubjectError
from models.observation import Outcome
from models.rules import RULES
from tests.samples import EXPLICIT_LIST, HOSTILE, SUBJECTS, error_of, run

BUG = """
story = "Why it is wrong."
rule = "overlap"
file = "a.c"
find = '''one'''
replace = '''two'''
"""


def test_bundled_allocator():
    assert "explicit_list" in catalogue.bundled()
    subject = catalogue.resolve("explicit_list")
    assert subject.bundled
    assert subject.model == "explicit_list"
    assert subject.has >= {"malloc", "calloc", "realloc", "aligned_alloc", "free", "usable_size"}
    assert subject.has >= {"check", "walk"}
    assert subject.contract.alignment == 16
    assert subject.contract.detects == dict.fromkeys(("double_free", "realloc_freed"), "abort")
    assert [path.name for path in subject.sources] == ["explicit_list.c", "page_source_system.c"]
    assert run(subject).outcome == Outcome.FINISHED


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("explicit_lost", "no such bundled allocator (did you mean explicit_list?)"),
        ("zzz", "no such bundled allocator (known: "),
        ("explicit_list+bugs/", "no such planted bug (known: "),
        ("explicit_list+bugs/coalesce-forgets-foter", "did you mean coalesce-forgets-footer?"),
        ("nowhere.c", "nowhere.c: no such file (bundled allocators: "),
        ("nowhere.so", "nowhere.so: no such file"),
        ("nowhere.toml", "nowhere.toml: no such file"),
        ("./explicit_list", "no such file"),
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
    assert "a prefix is for .c and .so" in str(error_of("explicit_list", prefix="mem_"))
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


@pytest.mark.parametrize("name", catalogue.bundled())
def test_every_planted_bug_fits_its_source(name):
    for bug in catalogue.planted_bugs(name):
        assert bug.rule in RULES
        assert bug.story.strip().endswith(".")
        assert bug.subject.partition("+bugs/")[0] in catalogue.variants(name)
        folder = catalogue.HERE / name
        planted = (bugs.plant(bug, folder) / bug.file).read_text()
        home = catalogue.HERE if bug.file.startswith("parts/") else folder
        original = (home / bug.file).read_text()
        assert original.replace(bug.find, bug.replace) == planted != original


def test_bug_in_a_shared_part(tmp_path, monkeypatch):
    """The parts are copied beside the allocator, so that its #include finds the changed one."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.h").write_text("#define ANSWER one\n")
    (tmp_path / "parts" / "b.h").write_text("#define OTHER 1\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.c").write_text('#include "parts/a.h"\nint answer = ANSWER;\n')
    path = tmp_path / "a" / "bugs" / "overlap" / "b.toml"
    path.parent.mkdir(parents=True)
    path.write_text(BUG.replace('"a.c"', '"parts/a.h"'))
    monkeypatch.setattr(bugs, "PARTS", tmp_path / "parts")
    folder = bugs.plant(bugs.read(path), tmp_path / "a")
    assert (folder / "parts" / "a.h").read_text() == "#define ANSWER two\n"
    assert (folder / "parts" / "b.h").read_text() == "#define OTHER 1\n"
    assert (folder / "a.c").read_text() == (tmp_path / "a" / "a.c").read_text()


def test_variants_are_subjects_of_their_own(tmp_path, monkeypatch):
    folder = tmp_path / "one"
    folder.mkdir()
    code = "static char room[99];\nvoid *get(int at) { return room + at; }\n"
    (folder / "one.c").write_text(code)
    (folder / "subject.toml").write_text(
        'name = "one"\nsources = ["one.c"]\n[calls]\ndeclare = "void *get(int at);"\n'
        'malloc = "get(0)"\n[contract]\nalignment = 1\n'
    )
    (folder / "later.toml").write_text(
        'extends = "subject.toml"\nname = "one+later"\n[calls]\nmalloc = "get(1)"\n'
    )
    monkeypatch.setattr(catalogue, "HERE", tmp_path)
    assert catalogue.bundled() == ["one"]
    assert catalogue.variants("one") == ["one", "one+later"]
    plain, later = (run(catalogue.resolve(name)) for name in catalogue.variants("one"))
    assert later.observations[0].address % 2 != plain.observations[0].address % 2
    assert "no such variant of one (did you mean later?)" in str(error_of("one+latter"))


def test_planted_bug_is_what_is_compiled():
    name = catalogue.planted_bugs("explicit_list")[0].name
    good, bad = catalogue.resolve("explicit_list"), catalogue.resolve(f"explicit_list+bugs/{name}")
    assert bad.library != good.library
    assert bad.name == f"explicit_list+bugs/{name}"
    assert bad.bundled
    assert bad.model == good.model
    assert bad.contract == good.contract
    assert bad.sources[0].is_relative_to(artifacts.directory())
    assert good.sources[0].is_relative_to(EXPLICIT_LIST)


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
