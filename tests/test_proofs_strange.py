"""C as others write it: whatever the compiler makes of it has a meaning in the proofs, or is named.

Each file of subjects/strange asserts what its constructs must give: proved means that the executor
and C agree.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from allocator.executor import open_executor
from models.judge import judge
from models.observation import Outcome
from models.trace import from_text
from proofs.claims import PROVED, REFUTED, UNKNOWN
from proofs.subjects import subject_of
from proofs.verify import Report, verify

STRANGE = Path(__file__).resolve().parent / "subjects" / "strange"
NAMES = sorted(path.stem for path in STRANGE.glob("*.c"))
ASSERTING = """#include <assert.h>
#include <stddef.h>
static char pool[4096];
void *own_malloc(size_t size)
{
    assert(size != 4000);
    return size > sizeof pool ? NULL : pool;
}
void own_free(void *block) { (void)block; }
"""
DESCRIPTION = """name = "own"
sources = ["own.c"]
flags = ["-DNDEBUG"]
[calls]
malloc = "own_malloc(size)"
free = "own_free(ptr)"
declare = "void *own_malloc(size_t); void own_free(void *);"
"""
FATAL = from_text("p0 = malloc 4000\n")


def report_of(spec: Path, pattern: str) -> Report:
    (report,) = verify(subject_of(str(spec)), pattern, quick=True)
    return report


# ---- what C can say ----


@pytest.mark.parametrize("name", NAMES)
def test_its_assertions_are_proved(name: str) -> None:
    report = report_of(STRANGE / f"{name}.c", "first.abort")
    assert report.verdict == PROVED, report.reasons


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("bits", "(x << 9 | x >> 23)", "(x << 8 | x >> 23)"),
        ("places", "== 3 << 8", "== 3"),
        ("initial", "low == 8", "low == 16"),
        ("structs", "now.limit == sizeof pool", "now.limit == 0"),
    ],
)
def test_a_wrong_assertion_is_refuted(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    text = (STRANGE / f"{name}.c").read_text()
    assert text.count(right) == 1
    (tmp_path / f"{name}.c").write_text(text.replace(right, wrong))
    report = report_of(tmp_path / f"{name}.c", "first.abort")
    assert report.verdict == REFUTED, report.reasons
    assert report.reasons[0].startswith(f"an assertion fails, {name}.c:")
    assert report.replayed.rule == "abort"


@pytest.mark.parametrize("name", NAMES)
def test_no_assertion_fails_in_the_compiled_library(name: str) -> None:
    trace = from_text("p0 = malloc 100\np1 = malloc 0\np2 = malloc 17\nfree p0\np3 = malloc 9000\n")
    with open_executor(subject_of(str(STRANGE / f"{name}.c"))) as executor:
        run = executor.run(trace)
    assert run.outcome is Outcome.FINISHED, run.assertion


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("double half = size * 0.5; if (half > 9.0) return 0;", "double"),
        ("static _Atomic int calls; calls++;", "atomicrmw"),
        ('__asm__ volatile("nop");', "asm"),
        ("volatile char room[size & 7]; room[0] = 1;", "alloca"),
        ("typedef int two __attribute__((vector_size(8))); volatile two all = {1};", "<2 x i32>"),
        ("extern char **environ; if (environ == (void *)size) return 0;", "environ"),
        ("extern long random(void); if (random()) return 0;", "random"),
    ],
)
def test_what_is_not_supported_is_named_with_its_line(
    statement: str, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.c"
    path.write_text(
        "#include <stddef.h>\nstatic char pool[4096];\n"
        f"void *odd_malloc(size_t size)\n{{\n    {statement}\n"
        "    return size > 4096 ? NULL : pool;\n}\nvoid odd_free(void *block) { (void)block; }\n"
    )
    report = report_of(path, "first.abort")
    assert report.verdict == UNKNOWN
    (reason,) = report.reasons
    assert re.match(r"odd\.c:5: odd_malloc: unsupported", reason), reason
    assert reason.endswith("; fuzz/run.py checks it all the same")
    assert named in reason
    assert "!" not in reason


# ---- assertions of the subject's own ----


def test_an_assertion_is_on_and_its_words_are_told(tmp_path: Path) -> None:
    (tmp_path / "own.c").write_text(ASSERTING)
    subject = subject_of(str(tmp_path / "own.c"))
    with open_executor(subject) as executor:
        run = executor.run(FATAL)
    assert (run.outcome, run.assertion) == (Outcome.ABORT, "own.c:6: size != 4000")
    violation = judge(FATAL, run, subject.contract).violation
    assert "its own assertion failed, own.c:6: size != 4000" in violation.message
    report = report_of(tmp_path / "own.c", "first.abort")
    assert report.verdict == REFUTED
    assert report.reasons[0] == "an assertion fails, own.c:6: size != 4000"
    assert [op.size for op in report.trace.ops] == [4000]
    assert report.replayed.rule == "abort"


def test_a_subject_may_turn_its_assertions_off(tmp_path: Path) -> None:
    (tmp_path / "own.c").write_text(ASSERTING)
    (tmp_path / "own.toml").write_text(DESCRIPTION)
    with open_executor(subject_of(str(tmp_path / "own.toml"))) as executor:
        assert executor.run(FATAL).outcome is Outcome.FINISHED
    report = report_of(tmp_path / "own.toml", "first.abort")
    assert report.verdict == PROVED, report.reasons


# ---- a refutation that nobody sees ----

PAST = """#include <stddef.h>
#include <unistd.h>
void *past_malloc(size_t size)
{
    char *block = size > 65536 ? (void *)-1 : sbrk((size + 31) & ~(size_t)15);
    if (block == (void *)-1)
        return NULL;
    *(size_t *)(block + (size == 4096 ? 12288 : 0)) = size;
    return block;
}
void past_free(void *block) { (void)block; }
"""


def test_an_access_that_nobody_sees_is_told_with_its_line_and_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "past.c").write_text(PAST)
    report = report_of(tmp_path / "past.c", "first.bounds")
    assert (report.verdict, report.replayed.rule) == (REFUTED, "ok")
    what, numbers, why = report.reasons
    assert what == "past_malloc writes outside its memory, past.c:8"
    told = "8 bytes at +0x3000, 8176 bytes behind the end of the 4112 bytes granted below the break"
    assert numbers == told
    assert why.startswith("fuzz/run.py sees a write only")


def test_a_refutation_is_not_remembered_where_its_line_has_moved(tmp_path: Path) -> None:
    (tmp_path / "past.c").write_text(PAST)
    report_of(tmp_path / "past.c", "first.bounds")
    (tmp_path / "past.c").write_text(f"\n\n{PAST}")
    report = report_of(tmp_path / "past.c", "first.bounds")
    assert report.reasons[0] == "past_malloc writes outside its memory, past.c:10"
