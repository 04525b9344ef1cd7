"""What one process shows of a thousand traces, a thousand fresh processes show: restoring works.

How fast it is, ci/bench_restore.py says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

from allocator import catalogue
from allocator.executor import Sandboxed, run_fresh
from allocator.subject import Subject
from models.observation import Run
from models.trace import Kind, Op, Trace
from tests.samples import SUBJECTS, library

NIGHTLY = settings.default.max_examples > 1000
TRACES = 10_000 if NIGHTLY else 120
STATES = SUBJECTS / "states"
SHAPES = ("static.c", "static.so", "by_thread.c", "by_thread.so", "mapper.c", "mapper.so")


@pytest.fixture(params=SHAPES)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    """Each of tests/subjects/states as a source, and as somebody else's library."""
    path = STATES / request.param
    if path.suffix == ".so":
        path = library(tmp_path / path.name, str(path.with_suffix(".c")))
    return catalogue.resolve(str(path))


def traces(count: int) -> Iterator[Trace]:
    """Short ones, some of them with pages refused."""
    source = random.Random(20)
    for _ in range(count):
        ops = []
        for name in range(source.randrange(1, 30)):
            choice = source.random()
            if choice < 0.3 and name:
                ops.append(Op(Kind.FREE, first=source.randrange(name)))
            elif choice < 0.33:
                ops.append(Op(Kind.DENY, first=source.randrange(3)))
            else:
                ops.append(Op(Kind.MALLOC, name, source.choice((1, 24, 100, 3000, 70_000))))
        yield Trace(tuple(ops))


def shown(executor: Sandboxed, trace: Trace) -> Run:
    return executor.run(trace, check="end", cpu_limit_ms=2000)


def test_one_worker_shows_what_fresh_processes_show(subject: Subject) -> None:
    forked = replace(subject, forks=True)
    with Sandboxed(subject, capacity=64) as one, Sandboxed(forked, capacity=64) as fresh:
        pairs = [(shown(one, each), shown(fresh, each)) for each in traces(TRACES)]
    assert not [number for number, (warm, cold) in enumerate(pairs) if warm != cold]
    assert sum(bool(seen.address) for warm, _ in pairs for seen in warm.observations) > TRACES


def test_a_process_started_anew_shows_the_same(subject: Subject) -> None:
    with Sandboxed(subject, capacity=64) as one:
        for each in traces(6):
            warm = shown(one, each)
            assert run_fresh(subject, each, check="end", cpu_limit_ms=2000) == warm


def test_a_description_says_fork(tmp_path: Path) -> None:
    text = f'sources = ["{STATES / "static.c"}"]\nrestore = "fork"\n'
    text += '[calls]\ndeclare = "void *static_malloc(size_t);"\nmalloc = "static_malloc(size)"\n'
    (tmp_path / "forked.toml").write_text(text)
    subject = catalogue.resolve(str(tmp_path / "forked.toml"))
    assert subject.forks
    with Sandboxed(subject, capacity=64) as executor:
        first, second = (executor.run(Trace((Op(Kind.MALLOC, 0, 9),))) for _ in range(2))
    assert first == second
