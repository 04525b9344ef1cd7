"""Probes of mutants: where the trap goes, that it is C, and that the proofs tell mutants by it.

The operators that make mutants are the business of test_mutants.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ci.killing import proving, targets
from ci.killing.mutants import Mutant, mutants_of
from ci.killing.probing import Probes, probes_of, quiet_functions
from ci.killing.source import Source, parse
from proofs import inductive_claims
from proofs.calls import Calls
from proofs.equivalence import DIFFERENT, EQUAL, UNDECIDED

POOL = Path(__file__).parent / "subjects" / "pool.c"
HELPERS = """\
extern int loud(int);
static int least(int a, int b) { return a < b ? a : b; }
"""


def probed(body: str, change: str, helpers: str = HELPERS) -> list[Probes]:
    """The probes of the one mutant of a function f(a, b, p) in whose identity `change` is."""
    text = f"{helpers}int f(int a, int b, int *p)\n{{\n    {body}\n}}\n"
    of = Source((parse("x.c", text),), frozenset())
    (mutant,) = (
        each for each in mutants_of(of) if change in each.identity and each.function == "f"
    )
    return probes_of(mutant, of)


def line(mutant: Mutant) -> str:
    """What stands in the place of the body."""
    return mutant.after.split("int *p)\n{", 1)[1].strip().removesuffix("}").strip()


def compared(before: str, after: str, truth: str = "") -> str:
    return (
        f"(__extension__ ({{ __auto_type as_before = {truth}({before}); "
        f"if (as_before != {truth}({after})) allocheck_tripped(); as_before; }}))"
    )


@pytest.mark.parametrize(
    ("body", "change", "expected"),
    [
        ("return a < b;", "`a <= b`", f"return {compared('a < b', 'a <= b')};"),
        # The largest expression: a difference that stays inside it is none.
        ("return least(a + 1, 7) * b;", "`a + 2`",
         f"return {compared('least(a + 1, 7) * b', 'least(a + 2, 7) * b')};"),
        ("if (a & 4) p++; return 0;", "`a | 4`",
         f"if {compared('(a & 4)', '(a | 4)', '!!')} p++; return 0;"),
        # What is written to, or whose address is taken, is no value.
        ("p[a + 1] = b; return 0;", "`a + 2`", f"p[{compared('a + 1', 'a + 2')}] = b; return 0;"),
        ("return *(&p[a + 1]);", "`a + 2`", f"return {compared('*(&p[a + 1])', '*(&p[a + 2])')};"),
        # What does something is done once.
        ("return loud(a) < b;", "`loud(a) <= b`",
         "return (__extension__ ({ __auto_type one = (loud(a)); __auto_type other = (b); "
         "__auto_type as_before = (one < other); if (as_before != (one <= other)) "
         "allocheck_tripped(); as_before; }));"),
        ("return loud(a + 1);", "`a + 2`", f"return loud({compared('a + 1', 'a + 2')});"),
        # And where nothing can be compared, nothing may be executed.
        ("return loud(a) && b;", "`loud(a) || b`", "return (allocheck_tripped(), loud(a) && b);"),
        ("a = b; return a;", "`a = b;` -> `;`", "{ allocheck_tripped(); a = b; } return a;"),
        # What a call does is all in memory, before and behind which it is looked at.
        ("least(a, b); return a;", "`least(a, b);` -> `;`",
         "{ allocheck_begun(); least(a, b); allocheck_done(); } return a;"),
        ("loud(a); return a;", "`loud(a);` -> `;`", "{ allocheck_tripped(); loud(a); } return a;"),
        ("if (a) return b; return a;", "`return b;` -> `;`",
         "if (a) { allocheck_tripped(); return b; } return a;"),
        ("for (; a; a--) b++; return b;", "`a--` -> `a++`",
         "for (; a; (allocheck_tripped(), a--)) b++; return b;"),
    ],
)  # fmt: skip
def test_the_trap_is_where_the_two_differ(body: str, change: str, expected: str) -> None:
    assert line(probed(body, change)[0].differs) == expected


def test_a_place_is_come_to_where_the_edit_itself_is_evaluated() -> None:
    assert line(probed("return a && b < 3;", "`b <= 3`")[0].comes) == (
        "return a && (allocheck_tripped(), b < 3);"
    )
    assert line(probed("if (a) return b; return a;", "`return b;` -> `;`")[0].comes) == (
        "allocheck_tripped();\n    if (a) return b; return a;"
    )


def test_outside_of_functions_there_is_no_probe() -> None:
    of = Source((parse("x.c", "enum { TAG = 8 };\n"),), frozenset())
    assert [probes_of(each, of) for each in mutants_of(of)] == [[], []]


@pytest.mark.parametrize(
    ("text", "is_quiet"),
    [
        ("int f(int a) { int b = a; for (b++; b < 9; b += 2) a = b; return a; }", True),
        ("int g(int a) { return a; } int f(int a) { return g(a) + sizeof(int); }", True),
        ("int f(int *a) { *a = 1; return 1; }", False),
        ("int f(int *a) { a[0]++; return 1; }", False),
        ("int n; int f(int a) { n = a; return a; }", False),
        ("int f(int a) { static int n; n = a; return n; }", False),
        ("int f(int a) { int n[2]; n[0] = a; return a; }", False),
        ("int f(int a) { return printf(a); }", False),
        ("int g(int *a) { return ++*a; } int f(int *a) { return g(a); }", False),
        ("int f(int a) { volatile int *b = (volatile int *)8; return *b; }", False),
    ],
)
def test_a_quiet_function_has_a_value_and_no_effect(text: str, is_quiet: bool) -> None:
    assert ("f" in quiet_functions([parse("x.c", text)])) == is_quiet


def test_every_probe_of_a_source_is_c() -> None:
    """Which of them a compiler takes is asked for each mutant: tree-sitter knows no types."""
    of = Source((parse("pool.c", POOL.read_text()),), frozenset())
    every = mutants_of(of)
    texts = {
        text.after
        for each in every
        for probes in probes_of(each, of)
        for text in (probes.differs, probes.comes)
    }
    assert len(texts) > len(every) > 50
    for text in texts:
        parse("pool.c", text)


MAIN = """
int loud(int a) {{ return a; }}
int main(void) {{ int n[4] = {{0}}; return f({}, n) != {}; }}
"""


@pytest.mark.parametrize(
    ("body", "change", "call", "result", "status"),
    [
        ("return least(a, b) < 2;", "`least(a, b) <= 2`", "1, 5", 1, 0),
        ("return least(a, b) < 2;", "`least(a, b) <= 2`", "2, 5", 0, -signal.SIGILL),
        ("return loud(a) - b;", "`loud(a) + b`", "3, 0", 3, 0),
        ("return loud(a) - b;", "`loud(a) + b`", "3, 1", 2, -signal.SIGILL),
    ],
)
def test_a_machine_comes_to_the_trap_where_the_two_differ(
    body: str, change: str, call: str, result: int, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "probed.c"
    file.write_text(probed(body, change)[0].differs.after + MAIN.format(call, result))
    built = tmp_path / "probed"
    command = [sys.executable, "-m", "ziglang", "cc", "-w", str(file), "-o", str(built)]
    subprocess.run(command, check=True, timeout=120)
    assert subprocess.run([built], timeout=20).returncode == status


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small room, and the most usual requests."""
    room = inductive_claims.Room((64,))
    monkeypatch.setattr(inductive_claims, "every_room", lambda _walker: (room,))
    monkeypatch.setattr(Calls, "aligned", lambda _self: iter(()))
    monkeypatch.setattr("proofs.calls.ALIGNMENTS", (32,))


def proved(change: str, allocator: str = "explicit_list") -> proving.Proof:
    """What the proofs say of the one mutant in whose identity `change` is, without variants."""
    of = targets.origin(allocator)
    (mutant,) = (each for each in targets.mutants(of) if change in each.identity)
    target = targets.mutant_target(of, mutant)
    (proof,) = proving.proofs_of([replace(target, faces=target.faces[:1])], 100, lambda _: None)
    return proof


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("allocator", "change"),
    [
        ("explicit_list", "start_row constant `2 * TAG` -> `1 * TAG`"),
        ("implicit_list", "take call `leave(heap, block, block);` -> `;`"),
    ],
)
def test_a_mutant_that_nobody_can_tell_is_proved(allocator: str, change: str) -> None:
    proof = proved(change, allocator)
    assert (proof.outcome.word, proof.outcome.calls) == (EQUAL, 0), proof.told()
    assert (proof.face, proof.heaps) == (allocator, 2)
    assert proof.target.identity in proof.told()


@pytest.mark.usefixtures("few")
def test_a_mutant_that_is_killed_is_not_proved() -> None:
    """It makes a difference at its place, and the call that does is then compared whole."""
    proof = proved("block_size relational `size < MIN_BLOCK` -> `size != MIN_BLOCK`")
    assert proof.outcome.word == DIFFERENT, proof.told()
    assert proof.outcome.calls


@pytest.mark.usefixtures("few")
def test_misuse_that_must_be_noticed_is_among_the_calls() -> None:
    """No valid call sees that freed blocks are not rejected any more."""
    proof = proved("mem_free call `reject_freed(block);` -> `;`")
    assert proof.outcome.word == UNDECIDED, proof.told()
    assert "must end in abort" in proof.outcome.why


@pytest.mark.usefixtures("few")
def test_of_a_place_that_no_call_comes_to_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others take no memory, the second row of a heap is never begun."""
    monkeypatch.setattr(Calls, "behind_gaps", lambda *_: iter(()))
    proof = proved("grow relational `memory > heap->end` -> `memory >= heap->end`")
    assert proof.outcome.word == UNDECIDED, proof.told()
    assert "no call comes to the place" in proof.outcome.why
