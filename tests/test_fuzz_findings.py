"""What is left of a finding: a trace that replays; a C program and a pytest case that fail.

The findings come from short traces on planted bugs; nothing is searched here.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from allocator.catalogue import bundled, resolve
from allocator.subject import Subject
from fuzz.bench import Bench
from fuzz.findings import subject_folder, write
from fuzz.reproducer import build_line
from fuzz.results import Report
from models.trace import from_text

ROOT = Path(__file__).resolve().parent.parent

# The planted bug, a trace that shows it, the rule that is broken.
CASES = [
    ("calloc-product-wraps", "p0 = calloc 0x1000000000000001 16", "refusal"),
    ("clears-without-tail", "p0 = malloc 64\nwrite p0\nfree p0\np1 = calloc 1 63", "zeroed"),
    ("failed-realloc-frees", "# store: 4096\np0 = malloc 64\np1 = realloc p0 9000", "survival"),
    ("malloc-zero-null", "p0 = malloc 0\np1 = malloc 8", "zero_size"),
    ("free-clobbers-errno", "p0 = malloc 1\nfree p0", "errno"),
    ("free-clobbers-errno", "p0 = malloc 0\nfree_all", "errno"),
    ("realloc-null-refused", "p0 = realloc NULL 1\np1 = malloc 1", "null"),
    ("realloc-zero-frees", "p0 = malloc 1\np1 = realloc p0 0\np2 = malloc 1", "zero_size"),
    ("free-null-dereferences", "free NULL", "null"),
    ("exit-on-bad-alignment", "p0 = aligned_alloc 24 8", "exit"),
    ("abort-when-full", "# store: 4096\np0 = malloc 8000", "oom"),
    ("foreign-memory-is-ours", "p0 = malloc 1\nforeign 64\np1 = malloc 4096", "bounds"),
    ("free-trusts-its-argument", "p0 = malloc 1\nfree p0\ndouble_free p0", "misuse"),
    ("size-equals-alignment", "p0 = aligned_alloc 64 64\np1 = aligned_alloc 64 64", "alignment"),
]


CLEAN = ("not reproduced\n", 0)
# Saved traces: one of each bundled allocator at least, and what a reproducer has once got wrong.
SAVED = [
    ("best_fit", "extension-assumed"),  # mapped regions lie next to each other
    ("best_fit", "freed-region-is-read"),  # it crashes where it should abort
    ("best_fit", "tail-not-unmapped"),  # a part of a region goes back
    ("buddy", "merges-with-part-of-the-buddy"),
    ("bump", "fresh-pages-are-zero"),  # the bug is in parts/
    ("explicit_list", "coalesce-forgets-unlink"),  # likewise; a block that reaches over all
    ("explicit_list", "shrink-forgets-tags"),  # two rules at once
    ("explicit_list", "usable-over-reported"),  # only some bytes make it crash
    ("first_fit", "rest-too-small"),
    ("implicit_list", "rest-of-nothing"),
    ("mmap_heap", "one-region-is-kept"),  # a page is held for nobody
    ("sbrk_list", "poisons-after-giving-back"),
    ("tlsf", "not-rounded-up"),  # usable sizes overlap, requested ones do not
]


def written(tmp_path: Path, spec: str, text: str) -> tuple[Subject, Report]:
    subject = resolve(spec)
    with Bench(subject) as bench:
        finding = bench.check(from_text(text), budget=0)
    assert finding is not None, f"{spec} is clean on this trace"
    return subject, write(finding, subject, tmp_path)


def run_reproducer(subject: Subject, report: Report) -> subprocess.CompletedProcess[str]:
    source = report.reproducer
    assert source is not None
    words = shlex.split(build_line(subject, source.name))
    assert words[0] == "cc"
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]  # of a planted bug
    command = [sys.executable, "-m", "ziglang", "cc", *strict, *words[1:]]
    subprocess.run(command, cwd=source.parent, check=True)
    program = [source.parent / source.stem]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("bug", "text", "rule"), CASES)
def test_the_reproducer_shows_the_rule_alone(tmp_path, bug, text, rule):
    subject, report = written(tmp_path, f"explicit_list+bugs/{bug}", text)
    assert report.finding.rule == rule
    done = run_reproducer(subject, report)
    assert done.stdout.startswith(f"violated: {rule}, operation "), done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(("name", "bug"), SAVED)
def test_saved_traces_reproduce(tmp_path, name, bug):
    text = (ROOT / "tests" / "traces" / name / f"{bug}.trace").read_text()
    trace = from_text(text)
    subject, report = written(tmp_path, trace.subject, text)
    assert report.finding.rule == trace.expect
    done = run_reproducer(subject, report)
    assert done.stdout.startswith(f"violated: {trace.expect}, operation "), done.stdout
    assert done.returncode == 1
    done = run_reproducer(resolve(trace.subject.partition("+bugs/")[0]), report)
    assert (done.stdout, done.returncode) in (
        CLEAN,
        (f"{CLEAN[0][:-1]}: the misuse was detected\n", 0),
    )


def test_each_bundled_allocator_has_a_reproducer():
    assert {name for name, _ in SAVED} == set(bundled())


def test_the_reproducer_is_silent_on_the_sound_allocator(tmp_path):
    _, report = written(tmp_path, *_case("clears-without-tail"))
    done = run_reproducer(resolve("explicit_list"), report)
    assert (done.stdout, done.returncode) == CLEAN


def test_no_reproducer_for_what_calls_cannot_show(tmp_path):
    spec = "explicit_list+bugs/enters-at-the-tail"
    text = "p0 = malloc 512\np1 = malloc 1\np2 = malloc 64\np3 = malloc 1\nfree p2\nfree p0\n"
    _, report = written(tmp_path, spec, text + "p4 = malloc 64\n")
    assert report.finding.rule == "model"
    assert report.reproducer is None


def test_a_user_subject_is_called_by_its_own_names(tmp_path):
    source = tmp_path / "mine.c"
    source.write_text(
        "#include <stddef.h>\nstatic char bytes[9999]; static size_t used;\n"
        "void *mine_malloc(size_t n) { void *at = bytes + used; used += n & 31; return at; }\n"
        "void mine_free(void *at) { (void)at; }\n"
        "int main(void) { return 0; }\n"
    )
    text = "p0 = malloc 40\np1 = malloc 40\n"
    subject, report = written(tmp_path / "out", str(source), text)
    assert "mine_malloc(" in report.reproducer.read_text()
    done = run_reproducer(subject, report)
    assert done.returncode == 1
    assert f"violated: {report.finding.rule}" in done.stdout


def test_the_trace_says_what_to_expect(tmp_path):
    spec, text = _case("clears-without-tail")
    _, report = written(tmp_path, spec, text)
    trace = from_text(report.trace_file.read_text())
    assert (trace.subject, trace.expect) == (spec, "zeroed")
    assert report.trace_file.name.startswith("zeroed-")


@pytest.mark.parametrize(("spec", "status"), [(None, 1), ("explicit_list", 0)])
def test_the_pytest_case_fails_until_the_bug_is_gone(tmp_path, spec, status):
    bug, text = _case("clears-without-tail")
    _, report = written(tmp_path, bug, text)
    case = report.test_file.read_text()
    report.test_file.write_text(case.replace(f"resolve('{bug}')", f"resolve('{spec or bug}')"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(
        [*command, f"--rootdir={ROOT}", "-c", ROOT / "pyproject.toml", report.test_file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert ("is not zero" in done.stdout or "zeroed" in done.stdout) == (status == 1)


def test_the_same_finding_is_written_once(tmp_path):
    spec, text = _case("clears-without-tail")
    _, first = written(tmp_path, spec, text)
    _, again = written(tmp_path, spec, text)
    assert first.trace_file == again.trace_file
    assert len(list(first.trace_file.parent.iterdir())) == 3


@pytest.mark.parametrize("name", ["explicit_list+bugs/x", "../../etc/passwd", "/tmp/a b.c", ".."])
def test_folders_stay_below_out(tmp_path, name):
    folder = subject_folder(tmp_path, name)
    assert folder.parent == tmp_path
    assert folder != tmp_path


def _case(bug: str) -> tuple[str, str]:
    text = next(text for name, text, _ in CASES if name == bug)
    return f"explicit_list+bugs/{bug}", text
