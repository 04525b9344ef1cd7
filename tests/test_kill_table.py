"""The kill table: attempts on wrong pools, the journal, the pages, the exit status.

The mutants themselves are test_mutants.py's; the subject is the small pool of subjects/.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from allocator.catalogue import bundled, planted_bugs
from ci import kill_table
from ci.killing import engines, journal, schedule, summary, survivors, targets
from ci.killing.attempt import ERROR, KILLED, LAYERS, SURVIVED, Attempt, Terms
from ci.killing.clock import Clock, Spent, cpu_seconds
from ci.killing.journal import Journal, code_version
from ci.killing.mutants import Mutant
from ci.killing.page import to_html
from ci.killing.plan import Plan
from ci.killing.schedule import Task
from ci.killing.survivors import Entry
from ci.killing.table import Board, to_json, to_text
from ci.killing.targets import BUG, MUTANT, Sorted, Target
from models.rules import RULES
from models.trace import from_text
from tests.pages import Outside

ROOT = Path(__file__).resolve().parent.parent
POOL = Path(__file__).parent / "subjects" / "pool.toml"
# Blocks are cut, and what follows one on the list is lost: the next to be granted overlaps.
OVERLAPS = ("*link = rest;", "*link = chunk;")
SEARCHES = sorted({*engines.ENGINES} - {"promises"})


def pool_target(edit: tuple[str, str] = ("", "")) -> Target:
    """The pool with an edit, as a mutant; without one it is correct."""
    of = targets.origin(str(POOL))
    before = (of.folder / "pool.c").read_text()
    after = before.replace(*edit)
    whole = (before, after, 0, len(before), after)
    mutant = Mutant("pool.c:1", "pool.c", "pool.c", "f", "edit", *whole)
    return targets.mutant_target(of, mutant)


def bug_target(name: str) -> Target:
    """A planted bug of explicit_list."""
    of = targets.origin("explicit_list")
    (bug,) = (bug for bug in targets.planted_bugs(of) if bug.name == name)
    return targets.bug_target(of, bug)


def terms(folder: Path, seconds: float = 5, layers: str = "all") -> Terms:
    return Terms(layers, 1, seconds, folder)


@pytest.fixture(scope="module")
def wrong() -> Target:
    return pool_target(OVERLAPS)


@pytest.mark.parametrize("engine", SEARCHES)
def test_each_engine_kills_a_wrong_pool(engine: str, wrong: Target, tmp_path: Path) -> None:
    made = engines.attempt(engine, wrong.faces, terms(tmp_path))
    assert (made.verdict, made.face) == (KILLED, "pool")
    assert made.executions > 0
    assert 0 < made.cpu < 5
    assert len(from_text(made.trace)) == made.ops <= 12


@pytest.mark.parametrize("engine", SEARCHES)
def test_the_correct_pool_survives_them_all(engine: str, tmp_path: Path) -> None:
    """And no engine goes far beyond its CPU time."""
    # Starting a guided search alone takes a second.
    budget = 3 if engine in engines.COVERED else 1
    made = engines.attempt(engine, pool_target().faces, terms(tmp_path, seconds=budget))
    assert made.verdict == SURVIVED, made.message
    assert made.executions > 0
    assert made.cpu < budget + 2


def test_the_promises_of_best_fit_alone_are_asked(wrong: Target, tmp_path: Path) -> None:
    of = targets.origin("best_fit")
    before = (of.folder / "blocks.h").read_text()
    after = before.replace("93)", "94)")
    whole = (before, after, 0, len(before), after)
    even = Mutant("x", "blocks.h", "blocks.h", "f", "edit", *whole)
    made = engines.attempt("promises", targets.mutant_target(of, even).faces, terms(tmp_path))
    assert (made.verdict, made.rule) == (KILLED, "misuse")
    assert engines.attempt("promises", of.faces, terms(tmp_path)).verdict == SURVIVED
    assert engines.attempt("promises", wrong.faces, terms(tmp_path)).verdict == SURVIVED


def test_a_black_box_attempt_has_no_predicate_and_no_model(tmp_path: Path) -> None:
    bug = bug_target("no-back-link")
    rules = {}
    for layers in LAYERS:
        chosen = terms(tmp_path, seconds=20, layers=layers)
        with engines.bench_of(str(bug.faces[0]), chosen) as bench:
            assert ("check" in bench.subject.has) == (layers != "black")
            assert (bench.predict is not None) == (layers == "all")
        rules[layers] = engines.attempt("stateful", bug.faces, chosen).rule
    assert RULES[rules["black"]].layer == "black-box"
    assert rules["white"] == "free_list"


def test_a_planted_bug_is_not_killed_by_its_own_trace(tmp_path: Path) -> None:
    """Its story would be no news; another bug's trace may kill it."""
    bug = bug_target("no-back-link")
    saved = (ROOT / "tests" / "traces" / "explicit_list").glob("*.trace")
    traces = [from_text(path.read_text()) for path in saved]
    own = [each.subject for each in traces if engines._is_own(each, str(bug.faces[0]))]
    assert own == [bug.name]


# ---- processes, and the journal ----


def run(tasks: list[Task], jobs: int = 2) -> dict[str, Attempt]:
    with closing(schedule.run(tasks, jobs)) as made:
        return {task.key: attempt for task, attempt in made}


def test_attempts_run_in_processes_of_their_own(wrong: Target, tmp_path: Path) -> None:
    good = Task("good", wrong, "dense", terms(tmp_path))
    bad = Task("bad", wrong, "no such engine", terms(tmp_path))
    made = run([good, bad])
    assert made["good"].killed
    assert made["bad"].verdict == ERROR
    assert "KeyError" in made["bad"].message


def test_an_engine_that_does_not_end_is_ended(
    wrong: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "GRACE", 0.5)
    monkeypatch.setattr(schedule, "SLOWEST", 0.0)
    started = time.monotonic()
    made = run([Task("slow", pool_target(), "stateful", terms(tmp_path, seconds=100))])
    assert made["slow"].verdict == ERROR
    assert "given up" in made["slow"].message
    assert time.monotonic() - started < 30


def test_resume_does_nothing_again(
    wrong: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survivors, "read", lambda: {})
    monkeypatch.setattr(journal, "code_version", lambda: "this one")
    words = [str(POOL), "--mutants", "2", "--engines", "dense", "--cpu-seconds", "2"]
    words += ["--out", str(tmp_path)]
    kill_table.main(words)
    before = json.loads((tmp_path / "kills.json").read_text())
    assert len(before["targets"]) == 2

    def nothing(tasks: list[Task], jobs: int) -> Iterator[tuple[Task, Attempt]]:
        assert not tasks
        yield from ()

    monkeypatch.setattr(schedule, "run", nothing)
    kill_table.main([*words, "--resume"])
    assert json.loads((tmp_path / "kills.json").read_text()) == before


def test_the_journal_knows_contents(wrong: Target, tmp_path: Path) -> None:
    """Another text, engine, seed or budget is another attempt; a broken line says nothing."""
    path = tmp_path / "journal.jsonl"
    written = Journal(path, resume=False)
    base = terms(tmp_path)
    key = written.key(wrong, "dense", base)
    others = [
        written.key(pool_target(), "dense", base),
        written.key(wrong, "stateful", base),
        written.key(wrong, "dense", terms(tmp_path, seconds=6)),
        written.key(wrong, "dense", terms(tmp_path, layers="black")),
    ]
    assert len({key, *others}) == 5
    assert key == written.key(wrong, "dense", terms(tmp_path / "elsewhere"))
    attempt = Attempt(KILLED, 7, 0.25, "overlap", "told", 3, "p0 = malloc 1\n")
    written.add(key, attempt)
    written.add("failed", Attempt(ERROR, message="no compiler"))
    with path.open("a") as file:
        file.write('{"key": "cut sho')
    Journal(path, resume=True).add("next", attempt)
    again = Journal(path, resume=True)
    assert again.known(key) == again.known("next") == attempt
    assert again.known("failed") is None
    assert Journal(path, resume=False).known(key) is None


def test_the_journal_knows_the_code(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    before = code_version(tmp_path)
    (tmp_path / "models" / "judge.py").write_text("")
    assert code_version(tmp_path) != before


# ---- the clock ----


def test_the_clock_counts_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ntime.sleep(60)"
    clock = Clock(0.2)
    child = subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert cpu_seconds(child.pid) >= 0.3
        assert clock.elapsed >= 0.3
        with pytest.raises(Spent):
            clock.check()
    finally:
        child.kill()
        child.communicate()
    assert cpu_seconds(os.getpid()) > 0
    assert not issubclass(Spent, Exception)


def test_a_stopped_clock_counts_nothing() -> None:
    ticks = iter([0.0, 1.0, 6.0, 8.0])
    clock = Clock(10, lambda: next(ticks))
    with clock.stopped():
        pass
    assert clock.elapsed == 3.0


def test_a_kill_stays_one_when_the_code_changes(
    wrong: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    before = Journal(path, resume=False)
    before.add("killed", Attempt(KILLED, rule="overlap"))
    before.add("survived", Attempt(SURVIVED))
    assert Journal(path, resume=True).known("survived")
    monkeypatch.setattr(journal, "code_version", lambda: "another")
    after = Journal(path, resume=True)
    assert after.known("killed")
    assert after.known("survived") is None


# ---- the table ----


def target(name: str, kind: str = MUTANT) -> Target:
    return Target(kind, "pool", name, f"{name} <&>", "edit", (POOL,), name, "- a < b\n+ a & b\n")


def board(entries: dict[tuple[str, str], Entry] | None = None) -> Board:
    """Two engines; a mutant that both kill, one that one kills, one that lives."""
    three = [target(name) for name in ("both", "one", "none")]
    plan = Plan(targets.Origin("pool", (POOL,)), (), 9, Sorted(tuple(three), ("u",), (), ()), ())
    made = Board({"seed": 1}, ("fuzz", "stateful"), [plan], entries or {})
    kill = Attempt(KILLED, 10, 0.5, "overlap", "p0 & p1 share <bytes>", 3, "p0 = malloc 1\n")
    lives = Attempt(SURVIVED, 1000, 5.0, spent=5.0)
    slower = Attempt(KILLED, 30, 1.5, "model", "", 5)
    made.attempts = {
        ("both", "fuzz"): kill, ("both", "stateful"): kill,
        ("one", "fuzz"): slower, ("one", "stateful"): lives,
        ("none", "fuzz"): lives, ("none", "stateful"): lives,
    }  # fmt: skip
    return made


def test_the_sums() -> None:
    fuzz, stateful = board().totals()
    assert (fuzz.killed, fuzz.tried, fuzz.executions, fuzz.cpu, fuzz.ops) == (2, 3, 20, 1.0, 4)
    assert (stateful.killed, stateful.cpu_spent) == (1, 10.0)
    assert board().by_operator() == {"edit": (2, 3)}
    assert board().by_rule()["fuzz", "overlap"] == 1


def test_the_exit_status() -> None:
    """1 until somebody has looked at the survivor; 2 where nothing ran; 130 after Ctrl-C."""
    assert board().status == 1
    entry = Entry("pool", "none <&>", "equivalent", "it is")
    assert board({("pool", "none <&>"): entry}).status == 0
    shared = Entry("*", "none <&>", "proved", "python proofs/run.py pool --against other.c")
    assert board({("*", "none <&>"): shared}).status == 0
    failed = board()
    failed.attempts = {("one", "fuzz"): Attempt(ERROR, message="no compiler")}
    assert failed.status == 2
    stopped = board()
    stopped.interrupted = True
    assert stopped.status == 130


def test_the_text_tells_of_each_survivor() -> None:
    text = to_text(board({("pool", "none <&>"): Entry("pool", "none <&>", "gap", "no rule")}))
    assert "2 of 3 killed, 1 survive" in text
    assert "survivor none\n  none <&>\n  gap: no rule\n" in text
    assert "    - a < b\n    + a & b" in text
    assert "overlap (10 runs, 0.5 s, 3 ops)" in text


def test_the_figures_go_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "KILLS.md"
    path.write_text(summary.DOCUMENT.read_text())
    known = {("pool", "none <&>"): Entry("pool", "none <&>", "equivalent", "no promise")}
    summary.write(board(known), "python ci/kill_table.py pool", path)
    text = path.read_text()
    assert "`python ci/kill_table.py pool`" in text
    assert "| `pool` | 9 | 4 | 1 | 0 | 3 | 2 | 0 | 1 |" in text
    assert "3 of 3 that compile are killed or shown equivalent: 100.0 %" in text
    assert "equivalent: no promise" in text
    summary.write(board(known), "again", path)
    assert path.read_text().count("| `pool` | 9 |") == 1


def test_the_json_has_everything() -> None:
    told = json.loads(to_json(board()))
    assert told["status"] == 1
    assert [each["killed"] for each in told["targets"]] == [True, True, False]
    assert told["targets"][0]["attempts"]["fuzz"]["rule"] == "overlap"


def test_the_page_is_well_formed_and_needs_nothing_else() -> None:
    page = to_html(board())
    tree = ElementTree.fromstring(page)
    text = " ".join(tree.itertext())
    assert "p0 & p1 share <bytes>" in text
    assert "nobody has looked at it" in text
    assert "- a < b\n+ a & b" in text
    assert not Outside(page).found
    assert Outside('<img src="x.png">').found


# ---- the command ----


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["no_such"], "no such bundled allocator"),
        (["--engines", "fuzz,nothing"], "no engine 'nothing'"),
        (["--mutants", "0"], "--mutants"),
        (["--jobs", "many"], "--jobs"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_2(words, complaint, tmp_path, capsys) -> None:
    try:
        status = kill_table.main([*words, "--out", str(tmp_path)])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_ctrl_c_leaves_what_was_found(tmp_path: Path) -> None:
    words = [str(POOL), "--mutants", "40", "--engines", "dense", "--cpu-seconds", "1"]
    words += ["--out", str(tmp_path), "--report", str(tmp_path / "elsewhere" / "page.html")]
    command = [sys.executable, str(ROOT / "ci" / "kill_table.py"), *words]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    first = next(line for line in process.stderr if "dense" in line)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    told = json.loads((tmp_path / "kills.json").read_text())
    assert told["interrupted"]
    assert 1 <= len(told["targets"]) < 40
    assert any(each["name"] in first for each in told["targets"])
    page = (tmp_path / "kills.html").read_text()
    ElementTree.fromstring(page)
    assert (tmp_path / "elsewhere" / "page.html").read_text() == page


def test_what_is_wanted_when_nothing_is_said() -> None:
    def count(*words: str) -> int | None:
        return kill_table.mutant_count(kill_table.parser().parse_args(words))

    assert count() == kill_table.DEFAULT_MUTANTS
    assert count("--bugs") == 0
    assert count("--mutants", "7") == 7
    assert count("--mutants", "all") is None


def test_every_planted_bug_is_a_target() -> None:
    for name in bundled():
        made = targets.planted_bugs(targets.origin(name))
        assert made == planted_bugs(name)
    target = bug_target("no-back-link")
    assert (target.kind, target.name) == (BUG, "explicit_list+bugs/no-back-link")
    (variant,) = {bug.variant for bug in
                  targets.planted_bugs(targets.origin("explicit_list+address_order"))}  # fmt: skip
    assert variant == "address_order"
