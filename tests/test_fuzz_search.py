"""The searches themselves: they find what is planted, and outlive what they search.

Short ones; how fast they find deep bugs, ci/bench_guidance.py measures.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from allocator.catalogue import resolve
from allocator.subject import SubjectError
from fuzz import guided
from fuzz.bench import Bench
from fuzz.campaign import Campaign, Options
from fuzz.guided import Death, Guided, seed_corpus, survey
from fuzz.job import Job, Survey, Suspect, from_line, to_line
from fuzz.journal import Journal, read_journal
from fuzz.limits import Limits, Switch, limits_of, program_bytes
from fuzz.native import decode, decoder_library, mutator_library
from fuzz.results import ERROR, OK, VIOLATION
from models.trace import Kind, from_text

BUG = "explicit_list+bugs/coalesce-forgets-unlink"
NO_TRACES = Path("/nonexistent")

needs_atheris = pytest.mark.skipif(not guided.available(), reason="atheris is not installed")

# A subject that ends its process where no guard can stop it, once a block of 48 bytes is asked for.
DEADLY = r"""
#include <stddef.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
static char bytes[1 << 20];
static size_t used;
void *deadly_malloc(size_t size)
{
    if (size == 48)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    if (size > sizeof bytes - used)
        return NULL;
    void *block = bytes + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}
void deadly_free(void *block) { (void)block; }
"""

# A subject that lets one program last long by the clock, as a busy machine does, without working.
SLEEPY = r"""
#include <fcntl.h>
#include <stddef.h>
#include <time.h>
static char bytes[1 << 20];
static size_t used;
void *sleepy_malloc(size_t size)
{
    struct timespec rest = { 2, 200000000 };
    if (open("MARK", O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0)
        while (nanosleep(&rest, &rest))
            ;
    if (size > sizeof bytes - used)
        return NULL;
    void *block = bytes + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}
void sleepy_free(void *block) { (void)block; }
"""


def job(tmp_path: Path, spec: str, **changes) -> Job:
    subject = resolve(spec, coverage=True)
    seed_corpus(tmp_path / "corpus", 1)
    libraries = decoder_library(), mutator_library()
    wanted = Job(
        subject,
        limits_of(subject).pack(),
        *libraries,
        tmp_path / "corpus",
        tmp_path / "journal",
        runs=3000,
    )
    return replace(wanted, **changes)


def campaign(tmp_path: Path, spec: str, **options) -> Campaign:
    wanted = {"runs": 1500, "seed": 1, "guided": False, "saved": NO_TRACES} | options
    return Campaign(spec, Options(out=tmp_path, **wanted))


@needs_atheris
def test_the_worker_finds_a_planted_bug(tmp_path):
    search = Guided(job(tmp_path, BUG, runs=20_000, stop_at_first=True), tmp_path / "log")
    suspects = [message for message in search.run() if isinstance(message, Suspect)]
    assert suspects
    assert from_text(suspects[0].trace).ops
    assert 0 < search.executions <= 20_000
    assert search.operations > search.executions


@needs_atheris
def test_a_survey_counts_edges_and_states(tmp_path):
    wanted = job(tmp_path, "explicit_list", runs=200)
    assert list(Guided(wanted, tmp_path / "log").run()) == []
    *suspects, covered = survey(wanted, tmp_path / "log2")
    assert suspects == []
    assert isinstance(covered, Survey)
    assert covered.edges is not None
    assert covered.edges > 60
    assert covered.states > 30


@needs_atheris
def test_without_states_edges_alone_guide(tmp_path):
    wanted = job(tmp_path, "explicit_list", runs=300, states=False)
    assert list(Guided(wanted, tmp_path / "log").run()) == []
    assert "Loaded 1 modules" in (tmp_path / "log").read_text()


@needs_atheris
@pytest.mark.parametrize("states", [True, False])
def test_no_edges_is_an_error_where_some_were_built_in(tmp_path, states):
    blind = replace(resolve("explicit_list"), coverage=True)
    search = Guided(job(tmp_path, "explicit_list", subject=blind, states=states), tmp_path / "log")
    with pytest.raises(SubjectError, match="no C edges"):
        list(search.run())


@needs_atheris
def test_the_program_that_killed_the_worker_is_known(tmp_path):
    (tmp_path / "deadly.c").write_text(DEADLY)
    spec = str(tmp_path / "deadly.c")
    wanted = job(tmp_path, spec, runs=2000)
    deaths = []
    for message in Guided(wanted, tmp_path / "log").run():
        assert isinstance(message, Death)
        assert message.status == -9
        deaths.append(decode(message.program, wanted.limits))
        if len(deaths) == 3:
            break
    assert all(any(op.size == 48 for op in trace) for trace in deaths)


@needs_atheris
def test_a_program_that_takes_seconds_does_not_end_the_worker(tmp_path):
    (tmp_path / "sleepy.c").write_text(SLEEPY.replace("MARK", str(tmp_path / "slept")))
    wanted = job(tmp_path, str(tmp_path / "sleepy.c"), runs=100)
    search = Guided(wanted, tmp_path / "log")
    assert [message for message in search.run() if isinstance(message, Death)] == []
    assert (tmp_path / "slept").exists()
    assert search.executions >= 100


@needs_atheris
def test_a_death_tells_what_the_worker_said(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    source = guided.WORKER.read_text().replace(
        "ROOT = Path(__file__)", f"ROOT = Path({str(guided.WORKER)!r})"
    )
    worker.write_text(
        source.replace(
            "suspicious = self", "1 / (journal.executions < 60)\n        suspicious = self"
        )
    )
    monkeypatch.setattr(guided, "WORKER", worker)
    death = next(Guided(job(tmp_path, "explicit_list"), tmp_path / "log").run())
    assert isinstance(death, Death)
    assert death.status == 77
    assert "ZeroDivisionError: division by zero" in str(death)


@needs_atheris
def test_death_becomes_a_finding(tmp_path):
    (tmp_path / "deadly.c").write_text(DEADLY)
    spec = str(tmp_path / "deadly.c")
    result = campaign(tmp_path, spec, guided=True, dense=False, runs=2000).run()
    (report,) = result.reports
    assert report.finding.rule == "crash"
    assert [str(op).split(" = ")[1] for op in report.finding.trace] == ["malloc 48"]


@needs_atheris
def test_a_prebuilt_library_is_searched_on_states_alone(tmp_path):
    (tmp_path / "mine.c").write_text(DEADLY.replace("size == 48", "0"))
    command = [sys.executable, "-m", "ziglang", "cc", "-g", "-shared", "-fPIC"]
    library = tmp_path / "mine.so"
    subprocess.run([*command, tmp_path / "mine.c", "-o", library], check=True)
    result = campaign(tmp_path, str(library), guided=True, dense=False, runs=600).run()
    assert result.error is None
    assert result.edges is None
    assert result.states > 0
    assert any("heap states alone" in note for note in result.notes)


def test_dense_programs_find_a_planted_bug(tmp_path):
    result = campaign(tmp_path, BUG, rules=frozenset({"overlap"})).run()
    assert result.verdict == VIOLATION
    assert "overlap" in [report.finding.rule for report in result.reports]


def test_the_next_seed_is_another_program():
    """Not the same one, a few operations further on: sizes are the bytes' where all is malloc."""
    limits = Limits(frozenset({Kind.MALLOC}), Switch.DENSE).pack()
    with Bench(resolve("explicit_list")) as bench:

        def sizes(seed: int) -> list[int]:
            bench.executor.search(seed, 1, program_bytes(64), limits)
            return [op.size for op in bench.executor.last_trace()]

        for one, other in pairwise(sizes(seed) for seed in range(100)):
            for shift in (1, 2, 4):
                alike = sum(map(int.__eq__, one[shift:], other))
                assert alike < 0.7 * len(one), "of few sizes some meet by chance"


def test_misuse_does_not_wait_for_long(tmp_path):
    """Programs of rare ways take turns with the others."""
    result = campaign(tmp_path, "first_fit+bugs/self-pointer-alone", findings=1).run()
    assert [report.finding.rule for report in result.reports] == ["misuse"]


def test_the_same_seed_does_the_same(tmp_path):
    bug = "explicit_list+bugs/copies-too-little"
    first, again = (campaign(tmp_path, bug).run() for _ in range(2))
    assert (first.executions, first.ops) == (again.executions, again.ops)
    assert [one.trace_file for one in first.reports] == [one.trace_file for one in again.reports]


def test_cycles_find_what_single_operations_do_not_show(tmp_path):
    bug, only = "explicit_list+bugs/moved-block-leaks", frozenset({"reclaim"})
    result = campaign(tmp_path, bug, dense=False, rules=only, runs=10_000).run()
    assert [report.finding.rule for report in result.reports] == ["reclaim"]


def test_a_correct_allocator_is_clean(tmp_path):
    result = campaign(tmp_path, "explicit_list").run()
    assert (result.verdict, result.notes) == (OK, [])
    assert result.executions >= 1000
    assert result.policy["alignment"] == 16


def test_saved_traces_come_first(tmp_path):
    saved = tmp_path / "traces"
    saved.mkdir()
    (saved / "one.trace").write_text("p0 = malloc 24\nfree p0\n")
    (saved / "bad.trace").write_text("p0 = nonsense 24\n")
    result = campaign(tmp_path, "explicit_list", saved=saved, dense=False, runs=1).run()
    assert result.executions > 0
    (note,) = result.notes
    assert note.startswith("bad.trace: not replayed: line 1")


def test_without_atheris_random_programs_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(guided, "available", lambda: False)
    result = campaign(tmp_path, "explicit_list", guided=True).run()
    assert result.verdict == OK
    assert result.executions > 1000
    (note,) = result.notes
    assert "atheris is not installed" in note


def test_a_subject_that_is_none_is_an_error(tmp_path):
    result = campaign(tmp_path, "no_such_allocator").run()
    assert result.verdict == ERROR
    assert "no such bundled allocator" in result.line()
    assert "\n" not in result.line()


def test_an_error_of_ours_is_told_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Campaign, "_dense", lambda *_: 1 / 0)
    result = campaign(tmp_path, "explicit_list").run()
    assert result.verdict == ERROR
    assert "internal error: ZeroDivisionError" in result.line()
    assert "ZeroDivisionError" in (tmp_path / "explicit_list" / "error.log").read_text()


def test_the_journal_survives_its_writer(tmp_path):
    journal = Journal(tmp_path / "journal", 8)
    journal.write(b"one")
    journal.write(b"longer than eight")
    entry = read_journal(tmp_path / "journal")
    assert (entry.executions, entry.bytes, entry.program) == (2, 20, b"longer t")
    assert read_journal(tmp_path / "none").executions == 0


@pytest.mark.parametrize("message", [Suspect("overlap", "p0 = malloc 1\n", 7), Survey(None, 3)])
def test_messages_survive_the_pipe(message):
    assert from_line(to_line(message)) == message
    assert from_line(to_line(message)[:-5]) is None


def test_the_corpus_is_seeded_once(tmp_path):
    seed_corpus(tmp_path / "corpus", 1)
    names = sorted(path.name for path in (tmp_path / "corpus").iterdir())
    shutil.copy(tmp_path / "corpus" / names[0], tmp_path / "corpus" / "own")
    seed_corpus(tmp_path / "corpus", 2)
    assert sorted(path.name for path in (tmp_path / "corpus").iterdir()) == sorted([*names, "own"])
