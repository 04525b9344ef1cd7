"""Limits on the tail: function and file lengths, columns, words that say nothing, dead files.

It reads every file of ours as text; ruff has the rest.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_LINES, C_LINES, FUNCTION_LINES, COLUMNS = 400, 500, 70, 100
EMPTY_WORDS = ("handler", "manager", "utils", "common", "misc")
# Reached otherwise than by an import or by name: what pytest, make and people start.
STARTED = re.compile(r"(test_\w+|conftest|__init__|__main__|run|setup)\.py$")
# Inputs of tests are written by others, or badly on purpose.
INPUTS = "tests/subjects/"


def tracked() -> list[Path]:
    """The files of the checkout, new ones too, ignored ones not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\n") if not listed.returncode else []
    found = [ROOT / name for name in names if name] or [
        path for path in ROOT.rglob("*") if not any(p.startswith(".") for p in path.parts)
    ]
    return sorted(path for path in found if path.is_file())


ALL_FILES = tracked()
PYTHON = [p for p in ALL_FILES if p.suffix == ".py" and INPUTS not in p.as_posix()]
C = [p for p in ALL_FILES if p.suffix in (".c", ".h") and INPUTS not in p.as_posix()]


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_functions(text: str) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def c_functions(text: str) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function whose body's braces stand in the first column."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            head = start - 1
            while head > 0 and lines[head - 1] and not lines[head - 1].endswith(("*/", "}", ";")):
                head -= 1
            named = re.search(r"(\w+)\s*\(", " ".join(lines[head : start + 1]))
            yield named[1] if named else "?", number - head + 1
            start = None


def identifiers(text: str) -> Iterator[tuple[int, str]]:
    """(line, name) of every function, class, argument and variable that a file makes."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


def empty_words(name: str) -> list[str]:
    """The words in a name that say nothing."""
    parts = re.findall(r"[a-z]+|[A-Z][a-z]*", name)
    return [part for part in parts if part.lower() in EMPTY_WORDS]


def demand_none(told: Iterable[object]) -> None:
    """Fails with one complaint a line."""
    lines = [str(each) for each in told]
    assert not lines, "\n" + "\n".join(lines)


def numbered(path: Path) -> Iterator[tuple[str, str]]:
    """(file:line, text) of every line."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        yield f"{identity(path)}:{number}", line


def test_files_are_short() -> None:
    limits = {".py": PYTHON_LINES, ".c": C_LINES, ".h": C_LINES}
    lengths = {identity(path): len(path.read_text().splitlines()) for path in PYTHON + C}
    demand_none(each for each in lengths.items() if each[1] > limits[Path(each[0]).suffix])


def test_lines_are_short() -> None:
    lines = (each for path in PYTHON + C for each in numbered(path))
    demand_none(place for place, line in lines if len(line) > COLUMNS)


def test_functions_are_short() -> None:
    long = []
    for path in PYTHON + C:
        functions = python_functions if path.suffix == ".py" else c_functions
        for name, lines in functions(path.read_text()):
            if lines > FUNCTION_LINES:
                long.append(f"{identity(path)}: {name}: {lines} lines")
    demand_none(long)


def test_modules_say_what_they_are_and_what_they_are_not() -> None:
    """Two sentences, or two halves of one."""
    silent = []
    for path in PYTHON:
        text = path.read_text()
        told = ast.get_docstring(ast.parse(text)) or ""
        if text.strip() and len(re.findall(r"[.;:](?:\s|$)", told)) < 2:
            silent.append(identity(path))
    demand_none(silent)


def test_names_say_something() -> None:
    told = [identity(path) for path in PYTHON + C if empty_words(path.stem)]
    for path in PYTHON:
        made = identifiers(path.read_text())
        told += [f"{identity(path)}:{line}: {name}" for line, name in made if empty_words(name)]
    demand_none(told)


def test_lint_exceptions_bear_their_reason() -> None:
    lines = (each for path in PYTHON for each in numbered(path))
    bare = re.compile(r"#\s*noqa\b(?!: [A-Z0-9, ]+ - \S)")
    demand_none(place for place, line in lines if bare.search(line) and "re.compile" not in line)


def test_no_file_is_dead() -> None:
    """Every module is imported, or started by somebody, or named in another file."""
    texts = {path: path.read_text(errors="replace") for path in ALL_FILES if path.suffix in READ}
    dead = []
    for path in PYTHON:
        if STARTED.search(path.name):
            continue
        elsewhere = (text for other, text in texts.items() if other != path)
        if not any(re.search(rf"\b{path.stem}\b", text) for text in elsewhere):
            dead.append(identity(path))
    demand_none(dead)


READ = {".py", ".md", ".toml", ".yml", ".c", ".h", ""}


def test_the_readme_of_tests_names_every_file() -> None:
    told = (ROOT / "tests" / "README.md").read_text()
    files = [path.name for path in PYTHON if path.parent.name == "tests"]
    demand_none(name for name in files if f"`{name}`" not in told)


def test_no_path_of_one_machine() -> None:
    """Nothing says where somebody's checkout or scratch folder is."""
    local = re.compile(r"/(?:home|Users)/\w+/|/work/" r"main\b|/tmp/" r"venv")
    told = [
        identity(path)
        for path in ALL_FILES
        if path.suffix in READ | {".trace", ".json"}
        and local.search(path.read_text(errors="replace"))
    ]
    demand_none(told)


def test_long_functions_are_seen() -> None:
    body = "    x = 1\n" * 80
    assert dict(python_functions(f"def long():\n{body}"))["long"] > FUNCTION_LINES
    c_body = "    x = 1;\n" * 80
    assert dict(c_functions(f"int long_one(int x)\n{{\n{c_body}}}\n"))["long_one"] > FUNCTION_LINES


def test_empty_words_are_seen() -> None:
    assert empty_words("signal_handler")
    assert empty_words("BlockManager")
    assert not empty_words("uncommonly_handled")
