"""Automatic mutants: each operator on a few lines of C, what is passed by, names that last.

No engine runs here; test_kill_table.py sets them on mutants.
"""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pytest

from allocator import catalogue, description
from allocator.catalogue import HERE, bundled
from allocator.subject import SubjectError
from ci.killing import source, survivors, targets
from ci.killing.mutants import OUTSIDE, Mutant, drawn, mutants_of
from ci.killing.operators import OPERATORS
from ci.killing.source import Source, parse

SUBJECTS = Path(__file__).parent / "subjects"


def mutants(text: str, checkers: frozenset[str] = frozenset()) -> list[Mutant]:
    """All mutants of a file of C."""
    return mutants_of(Source((parse("x.c", text),), checkers))


def made_by(operator: str, text: str) -> set[str]:
    """What `operator` makes of the body of a function, as bodies."""
    whole = f"int f(int a, int b)\n{{\n    {text}\n}}\n"
    every = [each for each in mutants(whole) if each.operator == operator]
    return {each.after.split("\n")[2].strip() for each in every}


@pytest.mark.parametrize(
    ("operator", "text", "expected"),
    [
        ("relational", "return a < b;", {"return a <= b;", "return a != b;"}),
        ("relational", "return a >= b;", {"return a > b;", "return a == b;"}),
        ("relational", "return a == b;", {f"return a {sign} b;" for sign in ("!=", "<=", ">=")}),
        ("logical", "return a && b;", {"return a || b;"}),
        ("arithmetic", "return a + b;", {"return a - b;"}),
        ("arithmetic", "a <<= b;", {"a >>= b;"}),
        ("arithmetic", "a++;", {"a--;"}),
        ("arithmetic", "return *&a;", set()),
        ("constant", "return a * 16;", {"return a * 17;", "return a * 15;"}),
        ("constant", "a = 0x10u;", {"a = 17u;", "a = 15u;"}),
        ("constant", "a = 010;", {"a = 9;", "a = 7;"}),
        ("constant", "return 0;", {"return 1;", "return (-1);"}),
        ("condition", "if (a == b) b++;", {"if (!(a == b)) b++;"}),
        ("condition", "for (; a; a--) b++;", {"for (; !(a); a--) b++;"}),
        ("condition", "return a ? a : b;", {"return !(a) ? a : b;"}),
        ("statement", "a = b;", {";"}),
        ("statement", "if (a) return b; return a;", {"if (a) ; return a;"}),
        ("call", "f(a, b);", {";"}),
        ("call", "return f(a, b);", set()),
        ("swap", "return f(a, b);", {"return f(b, a);"}),
        ("swap", "return f(a, a);", set()),
        ("mask", "return a & ~(b - 1);", {"return a & (b - 1);", "return a & ~(b);",
                                          "return a & ~(b - 2);"}),
        ("mask", "return a & USED;", {"return a & (USED << 1);"}),
        ("mask", "return a << b;", {"return a << (b + 1);", "return a << (b - 1);"}),
    ],
)  # fmt: skip
def test_an_operator_makes_what_it_says(operator: str, text: str, expected: set[str]) -> None:
    assert made_by(operator, text) == expected


def test_every_operator_is_tested_above() -> None:
    told = test_an_operator_makes_what_it_says.pytestmark[0].args[1]
    tested = {parameters[0] for parameters in told}
    assert tested - {"statement", "call"} | {"removal"} == set(OPERATORS)


def test_texts_are_made_once() -> None:
    """`b - 1` to `b - 2` is an edit of the mask and of the constant: one mutant."""
    texts = [each.after for each in mutants("int f(int a, int b) { return a & ~(b - 1); }")]
    assert len(texts) == len(set(texts))


def test_checkers_and_assertions_are_passed_by() -> None:
    text = (
        "static int looks(int a) { return a + 1; }\n"
        "static int both(int a) { return a + 2; }\n"
        "int check(int a) { return looks(a) + both(a); }\n"
        "int work(int a) { assert(a > 3); return both(a); }\n"
        '_Static_assert(sizeof(int) == 4, "");\n'
    )
    file = parse("x.c", text)
    checkers = source.checkers([file], ["check"])
    assert checkers == {"check", "looks"}
    assert {each.function for each in mutants_of(Source((file,), checkers))} == {"both"}


def test_constants_outside_functions_are_mutated() -> None:
    (up, down) = mutants("enum { TAG = 8 };\n")
    assert (up.function, up.after, down.after) == (
        OUTSIDE, "enum { TAG = 9 };\n", "enum { TAG = 7 };\n"
    )  # fmt: skip


def test_the_identity_outlives_a_shift_of_lines() -> None:
    text = "int f(int a)\n{\n    a = a + 1;\n    a = a + 1;\n    return a;\n}\n"
    before = mutants(text)
    after = mutants("/* a line more */\nint g;\n\n" + text)
    assert [each.identity for each in before] == [each.identity for each in after]
    assert not {each.name for each in before} & {each.name for each in after}
    assert len({each.identity for each in before}) == len(before)
    twice = [each.identity for each in before if "`a + 1` -> `a - 1`" in each.identity]
    assert twice == [f"x.c f arithmetic `a + 1` -> `a - 1` #{n}" for n in (1, 2)]


def test_the_diff_is_one_line_in_its_file() -> None:
    (mutant,) = (each for each in mutants("int f(void)\n{\n    return 1 < 2;\n}\n")
                 if each.after.count("<="))  # fmt: skip
    changed = [line for line in mutant.diff.splitlines() if line[:1] in "+-"]
    assert changed == ["--- a/x.c", "+++ b/x.c", "-    return 1 < 2;", "+    return 1 <= 2;"]


def test_a_sample_takes_the_operators_in_turn() -> None:
    every = mutants("int f(int a) { a++; return a + 1 + 2 + 3 + 4 + 5; }")
    first = drawn(every, seed=7)
    operators = {each.operator for each in every}
    assert {each.operator for each in first[: len(operators)]} == operators
    assert first == drawn(every, seed=7)
    assert sorted(first, key=str) == sorted(every, key=str)


def test_what_is_no_c_is_said_with_its_line() -> None:
    with pytest.raises(SubjectError, match=r"x\.c:2: cannot be parsed"):
        parse("x.c", "int a;\nint f( { ]\n")


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_allocator_has_mutants(name: str) -> None:
    """Their names are all different, and the predicate and the walk are left alone."""
    of = targets.origin(name)
    read = source.read(description.read(of.faces[0]))
    every = targets.mutants(of)
    assert len({each.name for each in every}) == len({each.identity for each in every})
    assert len(every) == len({each.name for each in every}) > 30
    assert {"mem_check", "mem_walk"} <= read.checkers
    assert not {each.function for each in every} & read.checkers


def test_shared_parts_are_mutated_too() -> None:
    of = targets.origin("explicit_list")
    (mutant, *_) = (each for each in targets.mutants(of) if each.file.startswith("parts/"))
    target = targets.mutant_target(of, mutant)
    assert (target.faces[0].parent / mutant.file).read_text() == mutant.after
    assert targets.objects_of(target.faces[0]) != targets.objects_of(of.faces[0])


def pool(folder: Path, edit: tuple[str, str] = ("", "")) -> targets.Origin:
    """The pool of tests/subjects in a folder of its own, edited."""
    for name in ("pool.c", "pool.h", "pool.toml"):
        shutil.copy(SUBJECTS / name, folder)
    path = folder / "pool.c"
    path.write_text(path.read_text().replace(*edit))
    return targets.origin(str(folder / "pool.toml"))


def test_compiled_mutants_are_sorted_out(tmp_path: Path) -> None:
    """What does not compile, what is the original, what is another mutant, and what lives."""
    of = pool(tmp_path)
    texts = {
        "broken": ("if (!block)", "if (!blocks)"),
        "same": ("return NULL;\n    size_t need", "return (void *)0;\n    size_t need"),
        "lives": ("chunk->size < need", "chunk->size <= need"),
        "double": ("chunk->size < need", "!(chunk->size > need)"),
    }
    before = (tmp_path / "pool.c").read_text()
    made, objects = [], {}
    for name, edit in texts.items():
        after = before.replace(*edit)
        assert after != before
        mutant = Mutant(name, name, "pool.c", "f", "operator", before, after, 0, len(before), after)
        made.append(targets.mutant_target(of, mutant))
        objects[made[-1].name] = targets.objects_of(made[-1].faces[0])
    result = targets.sort_out(of, made, objects)
    names = [of.name + "+mutants/" + name for name in texts]
    assert result.uncompiled == (names[0],)
    assert result.identical == (names[1],)
    assert [each.name for each in result.living] == [names[2]]
    assert result.doubles == (f"{names[3]} (is {names[2]})",)


def test_a_survivor_entry_names_a_mutant_that_is_there() -> None:
    """An edit of the source takes its entries along: then somebody looks again."""
    known = survivors.read()
    anywhere: set[str] = set()
    for allocator in bundled():
        of = targets.origin(allocator)
        there = [each.identity for each in targets.mutants(of)]
        there += [targets.bug_identity(bug) for bug in targets.planted_bugs(of)]
        assert not survivors.stale(known, allocator, there)
        anywhere.update(there)
    assert not survivors.stale(known, survivors.ANY, anywhere)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[survivor]]\nmutant = 'x'", "survivor 1 takes allocator, mutant, reason, word"),
        ("[[survivor]]\nallocator='a'\nmutant='x'\nword='fine'\nreason='r'", "word is one of"),
        ("[[survivor]]\nallocator='a'\nmutant='x'\nword='gap'\nreason='r'\n" * 2, "there twice"),
        ("[[survivor", "survivors.toml"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "survivors.toml"
    path.write_text(text)
    with pytest.raises(SubjectError, match=complaint):
        survivors.read(path)


def test_an_origin_takes_its_variants_along() -> None:
    faces = [face.name for face in targets.origin("explicit_list").faces]
    assert faces == ["subject.toml", "address_order.toml", "locked.toml"]
    (face,) = targets.origin("explicit_list+address_order").faces
    assert face == HERE / "explicit_list" / "address_order.toml"


@pytest.mark.parametrize("spec", ["explicit-list", "nothing.toml", "explicit_list+nothing"])
def test_a_wrong_name_is_named(spec: str) -> None:
    with pytest.raises(SubjectError, match="no such"):
        targets.origin(spec)


def test_a_target_is_found_by_the_words_of_the_campaign() -> None:
    """Else a mutant of a subject with threads is an error, and no kill."""
    ours = inspect.signature(targets.find).parameters
    theirs = inspect.signature(catalogue.resolve).parameters
    assert {"prefix", "coverage", "noise"} <= set(ours)
    assert set(ours) - {"face", "looking"} <= set(theirs)
