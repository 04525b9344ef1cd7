"""Anybody's C without an annotation: a wrap is found with its size, and a minute is a minute."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from models.trace import from_text
from proofs import programs
from proofs.claims import PROVED, REFUTED, UNKNOWN, Ledger
from proofs.engine import Engine
from proofs.host import Host
from proofs.menu import Menu
from proofs.path import Reasoning
from proofs.side_by_side import Ended, side_by_side
from proofs.solver import Solver, Unknown
from proofs.subjects import compiled, subject_of
from proofs.verify import Limits, verify

SUBJECTS = Path(__file__).resolve().parent / "subjects"
EXAMPLES = SUBJECTS.parent.parent / "allocator" / "examples"


def reports_of(spec: object, pattern: str, **told):
    return {one.claim.name: one for one in verify(subject_of(str(spec)), pattern, **told)}


# ---- allocators of others, and what is wrong with them ----

GUARDS = [
    (SUBJECTS / "foreign" / "kr.c", "size > SIZE_MAX - 2 * sizeof(Header)", "0", 2**64 - 32),
    (SUBJECTS / "foreign" / "slots.c", "size > POOL", "0", 2**64 - 64),
    (EXAMPLES / "malloclab" / "mm.c", "size == 0 || size > LARGEST", "size == 0", 2**32 - 32),
]


@pytest.mark.parametrize(("name", "guard", "without", "least"), GUARDS)
def test_a_header_add_that_wraps_is_refuted_with_its_size(name, guard, without, least, tmp_path):
    text = name.read_text()
    assert text.count(guard) == 1
    path = tmp_path / name.name
    path.write_text(text.replace(guard, without))
    report = reports_of(path, "first.bounds", quick=True)["first.bounds"]
    assert report.verdict == REFUTED, report.reasons
    (op,) = report.trace.ops
    assert op.size >= least, op
    assert report.replayed.confirmed, report.replayed.note


@pytest.mark.parametrize("name", [name for name, *_ in GUARDS])
def test_the_first_request_of_the_same_allocator_with_its_guard_is_proved(name):
    report = reports_of(name, "first.bounds", quick=True)["first.bounds"]
    assert report.verdict == PROVED, report.reasons
    assert name.name in report.canary


# ---- time ----


def test_an_allocator_that_lies_is_told_of_within_the_time_given():
    started = time.process_time()
    reports = reports_of(SUBJECTS / "liar.toml", "first.*", quick=True, limits=Limits(seconds=2))
    assert time.process_time() - started < 20
    assert all(report.verdict in (REFUTED, UNKNOWN) for report in reports.values())
    assert any("CPU" in line for report in reports.values() for line in report.reasons)


def test_what_falls_short_is_proved_to_the_bound_that_it_came_through(monkeypatch):
    run = programs.Exploration.run

    def tires(self):
        if self.menu.depth > 1:
            raise Unknown("tired")
        run(self)

    monkeypatch.setattr(programs.Exploration, "run", tires)
    limits = Limits(since=time.time() + 3600)
    reports = reports_of(SUBJECTS / "foreign" / "slots.c", "bounded.*", quick=True, limits=limits)
    bounds, overlap = reports["bounded.bounds"], reports["bounded.overlap"]
    assert (bounds.verdict, bounds.bound) == (PROVED, {"ops": 1})
    assert any("tired" in line for line in bounds.assumptions)
    assert overlap.verdict == UNKNOWN  # one block overlaps with nothing
    assert any("never put to the test" in line for line in overlap.reasons)


# ---- programs that begin with plain numbers ----


def test_a_prefix_is_played_before_the_operations_of_the_menu():
    subject = subject_of("sbrk_list")
    prefix = from_text("p0 = malloc 40\np1 = malloc 8\nfree p0\n").ops
    module, ledger = compiled(subject), Ledger(Reasoning(Solver()), (), frozenset())
    host = Host(2**14)
    engine = Engine(module, ledger.reasoning, host.guard, host.hooks())
    menu = Menu(("free",), 1, prefix=prefix)
    exploration = programs.Exploration(engine, ledger, menu, host, subject.contract, subject.has)
    exploration.run()
    assert exploration.levels == [1]  # one block is left to be freed
    assert "after p0 = malloc 40, p1 = malloc 8, free p0" in menu.told()


# ---- side by side ----


def work(job, send):
    send(f"{job} begun")
    if job == "dies":
        os._exit(3)
    while job == "spins":
        pass


def test_jobs_run_side_by_side_and_one_that_dies_takes_nobody_with_it():
    seen: dict[str, list] = {"a": [], "dies": [], "b": []}
    for job, message in side_by_side(list(seen), work, 2):
        seen[job].append(message)
    for job in ("a", "b"):
        assert seen[job] == [f"{job} begun", Ended()]
    assert seen["dies"][1].why.endswith("exit code 3")


def test_a_job_that_spins_is_ended():
    *_, (_, last) = side_by_side(["spins"], work, 1, cpu_seconds=1)
    assert last == Ended("1 s of CPU were not enough")
