"""The C reproducers of traces with threads: taking turns, running freely, under ThreadSanitizer.

A planted bug must show in the program, its sound twin in none.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from allocator import catalogue, tsan
from allocator.subject import Subject
from fuzz.bench import Bench
from fuzz.dedicated import dedicated
from fuzz.findings import write
from fuzz.reproducer import build_line, noise_of, reproducer
from models.check import Finding
from models.observation import Run
from models.trace import Trace, from_text
from models.verdict import Verdict
from tests.threaded import CACHED, THREADS, plant

FREE = "# schedule: free-running\n"
TWO_LARGE = FREE + "p0 = malloc 1025\nthread 1\np1 = malloc 1025\n"
ENDING = (
    FREE
    + """\
p0 = calloc 3 8
thread 1
p1 = realloc p0 100
p2 = realloc NULL 8
end_thread 1
free p1
free NULL
thread 2
write p2
deny 1
p3 = malloc 3000
deny none
"""
)
GCC = shutil.which("gcc")


def built(source: Path, subject: Subject, extra: list[str], compiler: str = "") -> Path:
    """The program that the file's own line builds, which nothing is to be said against."""
    words = shlex.split(build_line(subject, source.name, extra))
    own = [compiler] if compiler else [sys.executable, "-m", "ziglang", "cc"]
    warned = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*own, *warned, *words[1:]], cwd=source.parent, check=True)
    return source.parent / source.stem


def told(program: Path, seconds: int = 60) -> tuple[int, str]:
    done = subprocess.run([program, str(seconds)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def shown_by(trace: Trace, rule: str, subject: Subject, folder: Path) -> tuple[Path, list[str]]:
    """The reproducer of a race that is taken for found: meeting it again is another test's."""
    finding = Finding(rule, "found", trace, Verdict(), Run(()), 1, shown=(3, 7))
    text = reproducer(finding, subject, f"{rule}.c")
    assert text
    assert "it was in 3 of 7 processes" in text
    (folder / f"{rule}.c").write_text(text)
    return folder / f"{rule}.c", noise_of(finding, subject)


@pytest.mark.parametrize(
    ("bug", "text", "rule"),
    [
        ("", "thread 1\np0 = malloc 100\n", "bounds"),  # its thread ends, and takes it along
        ("cache-of-a-dead-thread-lost", "thread 1\np0 = malloc 100\nfree p0\nend_thread 1\n",
         "footprint"),
    ],
)  # fmt: skip
def test_threads_take_turns(bug: str, text: str, rule: str, tmp_path: Path) -> None:
    spec = plant(bug, tmp_path) if bug else THREADS / "local.toml"
    subject = catalogue.resolve(str(spec))
    with Bench(subject) as bench:
        traces = (from_text(text), *dedicated(from_text(text), subject))
        finding = next(found for each in traces if (found := bench.check(each)))
    assert finding.rule == rule
    report = write(finding, subject, tmp_path)
    assert "on_thread(1, " in report.reproducer.read_text()
    status, output = told(built(report.reproducer, subject, []))
    assert status == 1
    assert output.startswith(f"violated: {rule}, operation ")


def test_threads_that_run_freely_meet_again(tmp_path: Path) -> None:
    trace, sound = from_text(TWO_LARGE), catalogue.resolve(str(CACHED))
    wrong = catalogue.resolve(str(plant("kept-without-lock", tmp_path)))
    source, extra = shown_by(trace, "overlap", wrong, tmp_path)
    status, output = told(built(source, wrong, extra))
    assert status == 1
    assert output.startswith("violated: ")
    assert "another time it takes more, or fewer" in output
    source, extra = shown_by(trace, "overlap", sound, tmp_path)
    assert told(built(source, sound, extra), 1)[0] == 0


@pytest.mark.parametrize("spec", [str(CACHED), "explicit_list+locked"])
def test_a_sound_subject_does_not_fail_in_it(spec: str, tmp_path: Path) -> None:
    """Every operation, a thread that ends, refused pages: with gcc, where there is one."""
    subject = catalogue.resolve(spec)
    source, extra = shown_by(from_text(ENDING), "oom", subject, tmp_path)
    status, output = told(built(source, subject, extra, GCC or ""), 1)
    assert (status, output[:14]) == (0, "not reproduced"), output


@pytest.mark.skipif(not any(map(shutil.which, tsan.COMPILERS)), reason="no gcc, no clang")
def test_a_data_race_is_seen_by_the_sanitizer(tmp_path: Path) -> None:
    compiler = next(filter(None, map(shutil.which, tsan.COMPILERS)))
    wrong = catalogue.resolve(str(plant("counter-without-atomics", tmp_path)))
    for subject, status in ((wrong, 1), (catalogue.resolve(str(CACHED)), 0)):
        source, extra = shown_by(from_text(TWO_LARGE), "race", subject, tmp_path)
        assert extra == ["-fsanitize=thread"]
        assert told(built(source, subject, extra, compiler), 20 if status else 1)[0] == status
