"""Imports go one way, and each engine stays in its folder.

models <- allocator <- fuzz, proofs, tests, ci, and models <- fuzz/report <- all of these; it reads
the sources and imports nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("models", "allocator", "fuzz", "proofs", "tests", "ci")
MAY_IMPORT = {
    "models": {"models"},
    "allocator": {"allocator", "models"},
    "fuzz": {"fuzz", "allocator", "models"},
    "fuzz/report": {"fuzz/report", "models"},  # it knows no engine, so proofs may draw with it
    "proofs": {"proofs", "allocator", "models", "fuzz/report"},
    "tests": set(FOLDERS),
    "ci": set(FOLDERS),
}
# Where each package from outside may be met; what stands nowhere may be met anywhere but models/.
HOME = {
    "ctypes": {"allocator/binding.py"},
    "atheris": {"fuzz"},
    "jinja2": {"fuzz/report"},
    "z3": {"proofs", "tests"},
    "llvmlite": {"proofs"},
    "hypothesis": {"tests"},
    "pytest": {"tests", "ci/plugin"},
}


def sources(folder: str) -> Iterator[Path]:
    """The Python files of a folder, those that are inputs of tests left out."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "subjects" not in path.parts:
            yield path


FILES = [path for folder in FOLDERS for path in sources(folder)]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""


def layer(parts: list[str]) -> str:
    """The folder that a file or a module belongs to, as MAY_IMPORT names it."""
    nested = "/".join(parts[:2])
    return nested if nested in MAY_IMPORT else parts[0]


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def wrong_directions(path: Path) -> Iterator[str]:
    """Imports of a folder of ours that this one must not know."""
    folder = layer(identity(path).split("/"))
    for line, module in imported(path):
        root = layer(module.split("."))
        known = root in MAY_IMPORT and not {root, root.split("/")[0]} & MAY_IMPORT[folder]
        if known:
            yield f"{identity(path)}:{line}: {folder} must not import {module}"


def strays(path: Path) -> Iterator[str]:
    """Imports of an engine outside its folder, and anything but the standard library in models."""
    name = identity(path)
    for line, module in imported(path):
        root = module.split(".")[0]
        homes = HOME.get(root)
        if homes and not any(name == home or name.startswith(home + "/") for home in homes):
            yield f"{name}:{line}: {root} belongs in {', '.join(sorted(homes))}"
        ours = root in FOLDERS or root in sys.stdlib_module_names
        if name.startswith("models/") and not ours:
            yield f"{name}:{line}: models uses the standard library only, not {root}"


def test_imports_go_one_way() -> None:
    told = [line for path in FILES for line in wrong_directions(path)]
    assert not told, "\n".join(told)


def test_each_engine_stays_at_home() -> None:
    told = [line for path in FILES for line in strays(path)]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("folder", ["fuzz", "proofs"])
def test_no_file_shadows_the_standard_library(folder: str) -> None:
    """A script puts its own folder first on the path."""
    names = {path.stem for path in (ROOT / folder).iterdir()} - {"__init__", "__pycache__"}
    assert not names & set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("place", "text", "complaint"),
    [
        ("models/x.py", "import allocator.build", "models must not import allocator.build"),
        ("allocator/x.py", "from fuzz import run", "allocator must not import fuzz"),
        ("models/x.py", "def f():\n    import rich", "standard library only"),
        ("fuzz/x.py", "import ctypes", "ctypes belongs in allocator/binding.py"),
        (
            "proofs/x.py",
            "import fuzz.report.page\nimport fuzz.run",
            "not import fuzz.run",
        ),
        ("fuzz/report/x.py", "from fuzz.bench import Bench", "must not import fuzz.bench"),
        ("fuzz/report/x.py", "import allocator.build", "must not import allocator.build"),
        ("proofs/x.py", "from hypothesis import given", "hypothesis belongs in tests"),
    ],
)
def test_a_wrong_import_is_seen(tmp_path, monkeypatch, place, text, complaint) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    told = [*wrong_directions(path), *strays(path)]
    assert any(complaint in line for line in told)
