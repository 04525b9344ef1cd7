"""FIVE_MINUTES.md to the letter: each block of commands is run, and ends as the page says.

Budgets are cut to a number of executions; how the checkout is made and what stands in somebody
else's repository is left out (tests/test_plugin.py has that).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "FIVE_MINUTES.md"
FOLDERS = ("allocator", "ci", "fuzz", "models", "proofs", "tests")
STATUS = re.compile(r"\s+# exit status (\d+)$")
ELSEWHERE = ("git clone", "make setup", "/path/to/")
QUICK = "--runs 1500 --seed 1"


def sections() -> Iterator[tuple[str, list[str]]]:
    """(heading, commands) of each section with commands to be run in a checkout."""
    for part in PAGE.read_text().split("\n## ")[1:]:
        blocks = re.findall(r"```sh\n(.*?)```", part, re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        lines = [line for line in lines if not any(word in line for word in ELSEWHERE)]
        if lines:
            yield part.splitlines()[0], lines


@pytest.mark.parametrize(("heading", "lines"), list(sections()), ids=lambda each: str(each)[:20])
def test_a_section_goes_as_it_says(heading, lines, tmp_path):
    for name in FOLDERS:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "mine").mkdir()
    for line in lines:
        status = STATUS.search(line)
        command = STATUS.sub("", line).replace("--seconds 20", QUICK)
        command = command.replace(".venv/bin/python", sys.executable)
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        wanted = int(status[1]) if status else 0
        assert done.returncode == wanted, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_the_page_shows_all_three_and_a_bug_in_each():
    found = dict(sections())
    assert len(found) == 3
    assert all(any(STATUS.search(line) for line in lines) for lines in found.values())


def test_files_that_the_page_names_are_there():
    text = PAGE.read_text()
    named = re.findall(r"\]\(([\w./]+)\)", text) + re.findall(
        r"\b(?:allocator|ci|models)/[\w/.]+\w", text
    )
    missing = [name for name in named if not any(ROOT.glob(f"{name}*"))]
    assert not missing


def test_options_and_subjects_complete_in_bash():
    script = """
    source ci/completion.bash
    try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _allocheck "$1"; echo "${COMPREPLY[*]}"; }
    try PYTHON fuzz/run.py --rep
    try PYTHON fuzz/run.py explicit
    try PYTHON ci/false_alarms.py --threads 1
    try PYTHON setup.py --rep
    """.replace("PYTHON", sys.executable)
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.splitlines() == [
        "--replay --report",
        "explicit_list explicit_list+address_order explicit_list+locked",
        "16",
        "",
    ]


COMMANDS = ("fuzz/run.py", "proofs/run.py", "ci/kill_table.py", "ci/bench.py",
            "ci/bench_guidance.py", "ci/bench_textbook.py", "ci/false_alarms.py",
            "ci/real_programs.py", "allocator/preload.py", "allocator/record.py")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command):
    done = subprocess.run(
        [sys.executable, command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=100,
        check=True,
    )  # fmt: skip
    assert re.search(rf"(?m)^.*example.*\n?[\s\S]*python {command}", done.stdout, re.I), done.stdout
