"""Libraries that somebody else built: their pages come from the harness, or a line says why not.

How a library's functions are found is tested elsewhere.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from allocator import catalogue
from allocator.subject import Subject
from fuzz.bench import Bench, rules_on
from fuzz.dedicated import dedicated
from models.observation import Outcome
from models.trace import Trace, from_text
from tests.samples import STEADY, SUBJECTS, library, library_of_text

ALLOCATORS = Path(catalogue.__file__).resolve().parent
PRODUCTS = ("libjemalloc.so.2", "libmimalloc.so.2.0", "libtcmalloc_minimal.so.4")
REFUSALS = from_text(
    "p0 = malloc 24\ndeny all\np1 = malloc 40000000\np2 = malloc 100\ndeny none\n"
    "p3 = malloc 40000000\nwrite p3\nfree p0\n"
)
PLAIN = """
#include <stddef.h>
#include <stdlib.h>
#include <malloc.h>
void *pool_malloc(size_t n) {{ return {how}; }}
void pool_free(void *p) {{ {free}; }}
"""


def shipped(folder: Path, spec: str) -> Subject:
    """A bundled allocator as its vendor might ship it: built by gcc, described by a TOML."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    source = catalogue.resolve(spec)
    folders = [f"-I{each}" for each in source.include]
    words = ["gcc", "-shared", "-fPIC", "-O2", "-g", *source.flags, *folders]
    words += [*map(str, source.sources), "-o", str(folder / "shipped.so")]
    subprocess.run(words, check=True)
    include = ", ".join(f'"{each}"' for each in source.include)
    (folder / "shipped.toml").write_text(
        f'extends = "{ALLOCATORS / "mem.toml"}"\nlibrary = "shipped.so"\ninclude = [{include}]\n'
        'headers = ["explicit_list.h", "page_source_system.h"]\n'
    )
    return catalogue.resolve(str(folder / "shipped.toml"))


def first_violation(bench: Bench, traces: list[Trace]) -> str:
    """The first rule that these traces and the refusals made of them break; ok for none."""
    every = [each for trace in traces for each in (trace, *dedicated(trace, bench.subject))]
    rules = (bench.judge(trace, bench.execute(trace)).rule for trace in every)
    return next((rule for rule in rules if rule != "ok"), "ok")


def test_a_library_is_tested_without_its_source(tmp_path: Path) -> None:
    subject = shipped(tmp_path, "explicit_list")
    assert subject.memory_known
    assert {"oom", "bounds", "reclaim", "footprint"} <= set(rules_on(subject))
    assert any("bound to the harness: " in note and "sbrk" in note for note in subject.notes)
    with Bench(subject) as bench:
        assert first_violation(bench, [from_text(STEADY), REFUSALS]) == "ok"
        assert bench.execute(REFUSALS).observations[2].address == 0


@pytest.mark.parametrize(
    ("bug", "rules"),
    [
        ("refusal-compared-with-minus-one", {"oom"}),
        ("exit-when-full", {"oom"}),
        ("abort-when-full", {"oom"}),
        ("growth-assumed-contiguous", {"oom", "bounds"}),
    ],
)
def test_a_bug_without_memory_is_found_without_its_source(
    tmp_path: Path, bug: str, rules: set[str]
) -> None:
    subject = shipped(tmp_path, f"explicit_list+bugs/{bug}")
    foreign = from_text("p0 = malloc 24\nforeign 4096\np1 = malloc 9000\nwrite p1\nfree p0\n")
    with Bench(subject) as bench:
        assert first_violation(bench, [from_text(STEADY), REFUSALS, foreign]) in rules


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_get_their_pages_from_us(name: str) -> None:
    try:
        subject = catalogue.resolve(name)
    except catalogue.SubjectError:
        pytest.skip(f"no {name} here")
    assert subject.memory_known, subject.notes
    with Bench(subject) as bench:
        runs = [bench.execute(REFUSALS, cpu_limit_ms=2000) for _ in range(2)]
        assert runs[0] == runs[1], "restored"
        assert runs[0].outcome is Outcome.FINISHED
        assert not runs[0].observations[2].address, "pages were refused"
        assert runs[0].observations[5].address, "memory is back"
        assert bench.judge(REFUSALS, runs[0]).ok
        assert bench.judge(from_text(STEADY), bench.execute(from_text(STEADY))).ok


def test_system_calls_of_its_own_are_met(tmp_path: Path) -> None:
    path = library(tmp_path / "mapper.so", str(SUBJECTS / "states" / "mapper.c"))
    subject = catalogue.resolve(str(path))
    assert subject.memory_known
    with Bench(subject) as bench:
        run = bench.execute(from_text("p0 = malloc 24\ndeny all\np1 = malloc 24\np2 = malloc 24\n"))
    assert [bool(seen.address) for seen in run.observations] == [True, False, False, False]


@pytest.mark.parametrize(
    ("how", "free", "known"),
    [
        ("malloc(n)", "free(p)", True),
        ("memalign(16, n)", "(void)p", False),
        ("sbrk((n + 15) & ~15ul)", "(void)p", True),
    ],
)
def test_what_cannot_be_bound_is_said(tmp_path: Path, how: str, free: str, known: bool) -> None:
    text = PLAIN.format(how=how, free=free).replace("malloc.h>", "malloc.h>\n#include <unistd.h>")
    subject = catalogue.resolve(str(library_of_text(tmp_path / "pool.so", text)))
    assert subject.memory_known is known
    assert ({"oom", "bounds"} <= set(rules_on(subject))) is known
    assert len([note for note in subject.notes if "harness" in note]) == 1
    with Bench(subject) as bench:
        assert bench.judge(from_text(STEADY), bench.execute(from_text(STEADY))).ok


def test_the_process_own_library_is_told_from_others() -> None:
    try:
        subject = catalogue.resolve("libc.so.6")
    except catalogue.SubjectError:
        pytest.skip("no glibc here")
    assert not subject.memory_known
    assert any("rules bounds and oom are off" in note for note in subject.notes)
