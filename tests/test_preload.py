"""Real, unmodified programs on the bundled allocators, through LD_PRELOAD.

That they do what they do on the system's malloc; how fast, ci/real_programs.py says, whose parts
are looked at here too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allocator import build, preload
from allocator.catalogue import gallery
from ci import real_programs
from ci.real_programs import Row
from ci.workloads import Program, Work

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import os, _thread
texts, done = [None] * 3, [_thread.allocate_lock() for _ in range(3)]
def work(which):
    texts[which] = repr([{str(i): [i] * (i % 20)} for i in range(60)])
    done[which].release()
for which in range(3):
    done[which].acquire()
    _thread.start_new_thread(work, (which,))
for lock in done:
    lock.acquire()
child = os.fork()
if not child:
    os._exit(0 if eval(texts[0]) == eval(texts[2]) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(texts[1]), len(set(texts)))
"""
PYTHON = [sys.executable, "-S", "-c", SCRIPT]


def command(*words: object, as_module: bool = False) -> subprocess.CompletedProcess[str]:
    """The command as people type it; Python programs under it have no allocator of their own."""
    start = ["-m", "allocator.preload"] if as_module else [ROOT / "allocator" / "preload.py"]
    return subprocess.run(
        [sys.executable, *start, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def manners() -> Path:
    """The program that looks at what programs expect of malloc, and at forks and threads."""
    source = preload.DROPIN / "manners.c"
    flags = ("-O1", "-std=gnu17", "-Wall", "-Wextra", "-fno-builtin", "-fno-sanitize=undefined")
    unit = build.compile_object(build.Unit(source, flags, source.parent))
    return build.link("manners", [unit], ["-lpthread"], suffix="")


def test_the_system_has_the_manners_that_we_ask_for(manners: Path) -> None:
    """What the program says of ours would mean nothing if it said the same of everybody."""
    done = subprocess.run([manners], capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.returncode) == ("as expected\n", 0)


@pytest.mark.parametrize("name", gallery())
def test_malloc_has_the_manners_that_programs_expect(name: str, manners: Path) -> None:
    done = command(name, "--", manners)
    assert (done.stdout, done.stderr, done.returncode) == ("as expected\n", "", 0)


@pytest.mark.parametrize(
    ("bug", "what"),
    [
        ("explicit_list+bugs/free-clobbers-errno", "free keeps errno"),
        ("explicit_list+bugs/calloc-product-wraps", "a calloc product that overflows, ENOMEM"),
        ("explicit_list+bugs/clears-without-tail", "calloc clears"),
    ],
)
def test_bad_manners_are_seen(bug: str, what: str, manners: Path) -> None:
    done = command(bug, "--", manners)
    assert f"not so: {what}\n" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("name", gallery())
def test_python_forks_and_runs_threads(name: str) -> None:
    """Every object of the interpreter lies in the allocator's heap."""
    plain = subprocess.run(PYTHON, capture_output=True, text=True, timeout=60, check=True)
    done = command("--stats", name, "--", *PYTHON)
    assert done.stdout == plain.stdout
    assert done.returncode == 0
    (line,) = re.findall(r"^allocheck: \S+ \d+: malloc (\d+) .* free (\d+) peak (\d+)", done.stderr)
    assert min(map(int, line)) > 5_000


@pytest.mark.parametrize(
    ("careless", "said"), [(False, "as expected"), (True, "not so: a child's heap is usable")]
)
def test_forks_need_the_lock(careless: bool, said: str, manners: Path, tmp_path: Path) -> None:
    """A shim that allocates slowly, as it is and without its fork functions: a child hangs then."""
    text = (preload.DROPIN / "preload.c").read_text()
    slow = text.replace("count_call(COUNT_MALLOC);", "{ int e = errno; usleep(50); errno = e; }")
    assert slow != text
    if careless:
        slow, count = re.subn(r"pthread_atfork\(.*\);", "", slow)
        assert count == 1
    source = tmp_path / "preload.c"
    source.write_text(slow)
    subject = preload.resolve("tlsf")
    flags = build.subject_flags(subject)
    own = (*build.harness_flags(), "-fno-builtin", f"-I{preload.DROPIN}")
    units = [build.Unit(each, flags, subject.folder) for each in subject.sources]
    units += [build.Unit(subject.adapter, (*flags, "-w"), subject.folder)]
    library = preload.link("slow", [*units, build.Unit(source, own, tmp_path)])
    settings = preload.preloading(library, {})
    limits = {"timeout": 200, "check": False}
    done = subprocess.run([manners], env=settings, capture_output=True, text=True, **limits)
    assert done.stdout.startswith(said)


def test_children_inherit_it(tmp_path: Path) -> None:
    """A line for each process that ends by itself, the shell's own children among them."""
    file = tmp_path / "told"
    done = command("--stats-file", file, "tlsf", "--", "sh", "-c", "ls /; ls /; exit 7")
    assert done.returncode == 7
    assert done.stderr == ""
    assert len(re.findall(r"^allocheck: ls \d+: ", file.read_text(), re.MULTILINE)) == 2


def test_who_leaves_at_once_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "told"
    words = [sys.executable, "-S", "-c", "import os; os._exit(3)"]
    assert command("--stats-file", file, "tlsf", "--", *words).returncode == 3
    assert not file.exists()


def test_a_planted_bug_ends_a_real_program() -> None:
    """The merge that takes what is used is in the program, not in a harness."""
    done = command("explicit_list+bugs/merges-with-used", "--", *PYTHON)
    assert done.returncode != 0


@pytest.mark.parametrize(("script", "status"), [("exit 5", 5), ("kill -11 $$", 128 + 11)])
def test_the_status_is_the_programs_own(script: str, status: int) -> None:
    assert command("explicit_list", "--", "sh", "-c", script).returncode == status


def test_the_signal_to_end_reaches_the_program() -> None:
    words = [sys.executable, ROOT / "allocator" / "preload.py", "tlsf", "--"]
    script = "trap 'echo ended; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*words, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout.readline() == "ready\n"
        it.terminate()  # perhaps before the wrapper knows that the program has started
        assert it.stdout.read() == "ended\n"
    assert it.returncode == 9


def test_it_lists_the_names() -> None:
    done = command("--list", as_module=True)
    assert done.stdout.split() == gallery()
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense", "--", "ls"], "nonsense: no such bundled allocator"),
        (["tlsf+nonsense", "--", "ls"], "no such variant of tlsf"),
        (["tlsf", "--", "no-such-program"], "no-such-program: no such program"),
        (["tlsf", "--", "ci"], "ci: a folder, no program"),
        (["tlsf", "--", "./README.md"], "./README.md: a file that may not be run: chmod +x"),
        (["tlsf", "ls", "-l"], "what is to be run goes behind --: tlsf -- ls -l"),
        (["tlsf"], "which program? it stands behind --"),
        (["--", "ls"], "on which allocator?"),
        (["libc.so.6", "--", "ls"], "only bundled allocators"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("allocator/preload.py: ")
    assert said in line


def test_help_teaches() -> None:
    done = command("--help", as_module=True)
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("examples:", "exit status:", "--stats"))


# The table of real programs ---------------------------------------------------------------------


def test_another_output_is_a_finding(tmp_path: Path) -> None:
    """A planted bug beside the correct allocator, by the command itself."""
    file, bug = tmp_path / "rows.json", "explicit_list+bugs/merges-with-used"
    words = ["explicit_list", bug, "--program", "sqlite", "--seconds", "2", "--json", file]
    start = [sys.executable, ROOT / "ci" / "real_programs.py", *map(str, words)]
    done = subprocess.run(start, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1, done.stderr
    rows = {row["allocator"]: row for row in json.loads(file.read_text())["rows"]}
    assert rows["explicit_list"]["verdict"] == real_programs.SAME
    assert rows["explicit_list"]["slowdown"] > 0.1
    assert rows[bug]["verdict"] == real_programs.DIFFERS


def test_a_program_that_is_not_there_is_a_row(tmp_path: Path) -> None:
    missing = Program("git", missing="git is not installed")
    bench = real_programs.Bench([], tmp_path, 1.0)
    bench.programs = [missing]
    (row,) = bench.rows("tlsf")
    assert (str(row), row.note) == ("not installed", "git is not installed")
    assert real_programs.exit_code([row]) == 0


def test_a_static_program_is_no_row(tmp_path: Path) -> None:
    """Nothing is said of a program that LD_PRELOAD does not reach: ziglang's is one."""
    zig = importlib.util.find_spec("ziglang")
    program = str(Path(zig.origin).with_name("zig"))
    folder = tmp_path / "empty"
    folder.mkdir()
    bench = real_programs.Bench([], tmp_path, 5.0)
    bench.programs = [Program("zig", (Work("all", [program, "version"], folder),))]
    with pytest.raises(preload.SubjectError, match="does not reach it"):
        bench.demand_reach("tlsf")


def test_the_table_goes_between_the_markers(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"before\n{real_programs.BEGIN}\nold\n{real_programs.END}\nafter\n")
    row = Row("tlsf", "git", real_programs.SAME, "20 commits", seconds=3.0, system_seconds=2.0)
    real_programs.write([row], file)
    text = file.read_text()
    assert "| `tlsf` | 1.50 (20 commits) |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    file.write_text("no markers")
    with pytest.raises(preload.SubjectError, match="no markers"):
        real_programs.write([row], file)
