"""Real programs with work to do, in sizes, each ready to be run on any malloc.

It runs them only as far as their input needs making; ci/real_programs.py runs and compares.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Work:
    """One command at one size, the same output each time.

    `size` says how much it does; `folder` is copied and made the current one before each run;
    `settings` are environment variables.
    """

    size: str
    command: list[str]
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A real program: its work from the least to the most, or what is `missing`."""

    name: str
    works: tuple[Work, ...] = ()
    missing: str = ""


# Python -----------------------------------------------------------------------------------------

_SMALL = ("test_json.test_float", "test_json.test_scanstring")
_MIDDLE = ("test_json.test_decode", "test_dict", "test_list", "test_ordered_dict")
_LARGE = (*_MIDDLE, "test_struct", "test_heapq", "test_deque")
_SCRIPT = "print(sum(len(repr({i: [i] * 40, str(i): str(i) * 20})) for i in range(100)))"
_TEST = """
import random, sys, unittest
random.seed(1)
suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
result = unittest.TextTestRunner(stream=open('log', 'w'), verbosity=0).run(suite)
print(result.testsRun, len(result.failures), len(result.errors), len(result.skipped))
sys.exit(not result.wasSuccessful())
"""
_CHURN = """
import json, sys
kept = {}
for i in range(int(sys.argv[1])):
    kept[i % 997] = json.loads(json.dumps({'n': i, 'l': list(range(i % 50)), 's': 'x' * (i % 300)}))
print(sum(len(json.dumps(each)) for each in kept.values()))
"""


def python(folder: Path) -> Program:
    """This interpreter on a part of its own test suite, or on a script where it has none."""
    folder.mkdir()
    settings = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if importlib.util.find_spec("test") and importlib.util.find_spec("test.test_dict"):
        runs = [
            (f"{len(files)} test files", [_TEST, *(f"test.{file}" for file in files)])
            for files in (_SMALL, _MIDDLE, _LARGE)
        ]
    else:
        runs = [(f"{n:,} round trips", [_CHURN, str(n)]) for n in (300, 3_000, 30_000)]
    runs.insert(0, ("a script", [_SCRIPT]))
    start = [sys.executable, "-S", "-c"]
    words_of_each = [(size, [*start, *words]) for size, words in runs]
    return Program(
        "Python", tuple(Work(size, words, folder, settings) for size, words in words_of_each)
    )


# git --------------------------------------------------------------------------------------------

_GIT = """
git log --stat --format=%H:%s
git diff --stat HEAD~5 HEAD
git blame -s file0 | tail -5
git gc --quiet --prune=now
git fsck --full --strict
git count-objects -v | grep -e in-pack -e garbage
"""
_FILES = 20


def git(folder: Path) -> Program:
    """git on a repository made on the spot; `gc` works with two threads."""
    if not shutil.which("git"):
        return Program("git", missing="git is not installed")
    settings = _git_settings(folder)
    works = []
    for commits in (20, 150, 1_000):
        place = folder / str(commits)
        _make_repository(place, commits, settings)
        works.append(Work(f"{commits:,} commits", ["sh", "-ec", _GIT], place, settings))
    return Program("git", tuple(works))


def _git_settings(folder: Path) -> dict[str, str]:
    """Nothing of this machine's configuration."""
    return {
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_PAGER": "cat",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "pack.threads",
        "GIT_CONFIG_VALUE_0": "2",
    }


def _make_repository(place: Path, commits: int, settings: dict[str, str]) -> None:
    place.mkdir(parents=True)
    _quiet(["git", "init", "-q", "-b", "main", "."], place, settings)
    stream = "\n".join(_history(commits)).encode()
    _quiet(["git", "fast-import", "--quiet"], place, settings, stream)
    _quiet(["git", "reset", "-q", "--hard"], place, settings)


def _history(commits: int) -> Iterator[str]:
    """What `git fast-import` reads: each commit writes three of the files."""
    for number in range(commits):
        yield "commit refs/heads/main"
        yield f"committer Nobody <nobody@example.org> {1_000_000_000 + 60 * number} +0000"
        yield from _data(f"Change {number}\n")
        for which in range(3):
            file = (number * 7 + which) % _FILES
            lines = [f"line {line} of {file}, {number // (line + 1)}\n" for line in range(60)]
            yield f"M 100644 inline file{file}"
            yield from _data("".join(lines))


def _data(text: str) -> Iterator[str]:
    yield f"data {len(text)}"
    yield text


def _quiet(
    words: list[str], place: Path, settings: dict[str, str], given: bytes | None = None
) -> None:
    environment = {**os.environ, **settings}
    subprocess.run(words, cwd=place, env=environment, input=given, check=True, capture_output=True)


# sqlite -----------------------------------------------------------------------------------------

_SQL = """
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
CREATE TABLE item (id INTEGER PRIMARY KEY, kind INTEGER, name TEXT, payload BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO item SELECT i, i * 7919 % 101, printf('item %d', i * 31 % {rows}), zeroblob(i % 90)
FROM n;
CREATE INDEX by_name ON item (name, kind);
SELECT kind, count(*), sum(length(payload)), min(name), max(name) FROM item GROUP BY kind;
UPDATE item SET name = name || '-' || kind WHERE kind % 3 = 0;
DELETE FROM item WHERE kind % 5 = 1;
SELECT count(*), group_concat(name) FROM (SELECT name FROM item ORDER BY payload, name LIMIT 500);
SELECT count(DISTINCT a.name) FROM item a JOIN item b ON a.name = b.name AND a.id < b.id;
PRAGMA integrity_check;
"""
_SQL_IN_PYTHON = """
import sqlite3, sys
base = sqlite3.connect('base')
for statement in sys.argv[1].split(';'):
    print(*base.execute(statement))
base.commit()
"""


def sqlite(folder: Path) -> Program:
    """sqlite3 on a database file: the program, or else the module of this interpreter."""
    folder.mkdir()
    shell = shutil.which("sqlite3")
    works = []
    for rows in (1_000, 10_000, 100_000):
        text = _SQL.format(rows=rows)
        words = [shell, "base", text] if shell else [sys.executable, "-c", _SQL_IN_PYTHON, text]
        works.append(Work(f"{rows:,} rows", words, folder, {"HOME": str(folder)}))
    return Program("sqlite", tuple(works))


# The C compiler ---------------------------------------------------------------------------------


def compiler(folder: Path) -> Program:
    """The system's C compiler to assembly; ziglang's is static, where LD_PRELOAD has no effect."""
    program = shutil.which("cc")
    if not program:
        return Program("cc", missing="cc is not installed (ziglang's is a static program)")
    folder.mkdir()
    works = []
    for functions in (20, 150, 600):
        source = folder / f"source{functions}.c"
        source.write_text("\n".join(_functions(functions)))
        words = [program, "-O1", "-S", "-o", "-", source.name]
        works.append(Work(f"{functions:,} functions", words, folder))
    return Program("cc", tuple(works))


def _functions(count: int) -> Iterator[str]:
    yield "struct node { struct node *next; int value[4]; };"
    for number in range(count):
        yield f"""
int sum{number}(const struct node *list, int limit)
{{
    int total = {number};
    for (; list && total < limit; list = list->next)
        for (int i = 0; i < 4; i++)
            total += list->value[i] > {number % 17} ? list->value[i] * {number + 3} : -i;
    return total{f" + sum{number - 1}(0, limit)" if number else ""};
}}"""


PROGRAMS: dict[str, Callable[[Path], Program]] = {
    "python": python,
    "git": git,
    "sqlite": sqlite,
    "cc": compiler,
}
