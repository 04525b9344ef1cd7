"""A pytest plugin for other people's repositories: our conformance suite on their allocator.

Each test of the suite runs in a pytest of its own, in this checkout, so that neither side's
modules stand in for the other's; nothing of ours is imported here.

    pytest_plugins = ["allocheck"]      # in conftest.py, with this folder on the path
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SUITE = CHECKOUT / "tests" / "test_conformance.py"
SECONDS = 1800
SKIPPED = "1 skipped"
BAD_SUBJECT = 2  # there is no such allocator, or it does not compile


def pytest_addoption(parser: pytest.Parser) -> None:
    """--allocator SUBJECT, or `allocator = SUBJECT` in the settings of pytest."""
    told = "run allocheck's conformance suite on x.c, x.so, x.toml or a bundled name"
    group = parser.getgroup("allocheck")
    group.addoption("--allocator", metavar="SUBJECT", help=told)
    group.addoption("--prefix", help="how the functions of a .c or .so start")
    group.addoption("--threads", action="store_true", help="a .c or .so promises threads")
    parser.addini("allocator", f"{told}; a path is relative to this file")


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Adds the suite's tests to whatever was collected."""
    subject = chosen(config)
    if subject:
        items += [
            Conformance.from_parent(session, name=f"allocheck::{name}", test=name, subject=subject)
            for name in suite()
        ]


def chosen(config: pytest.Config) -> str:
    """The subject, "" for none; a path is made absolute."""
    given = config.getoption("--allocator")
    folder = config.invocation_params.dir if given else config.rootpath
    subject = given or config.getini("allocator")
    path = Path(folder, subject)
    return str(path.resolve()) if subject and path.is_file() else subject


def suite() -> Iterator[str]:
    """Names of the tests of the suite, in order."""
    for node in ast.parse(SUITE.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name


def interpreter() -> str:
    """The Python that has what the suite needs: the checkout's own after `make setup`."""
    own = CHECKOUT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


class NotConforming(Exception):
    """What the suite said of the allocator."""


class Conformance(pytest.Item):
    """One test of the suite on the subject."""

    def __init__(self, *, test: str, subject: str, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.test, self.subject = test, subject

    def runtest(self) -> None:
        """Runs it; what it prints is told where it fails."""
        prefix = self.config.getoption("--prefix")
        # With a space instead of "=" pytest would take a path for one with tests, and load the
        # conftest.py beside it.
        command = [interpreter(), "-m", "pytest", f"{SUITE}::{self.test}", "-q", "--no-header",
                   "-rN", "-p", "no:cacheprovider", f"--allocator={self.subject}",
                   *([f"--prefix={prefix}"] if prefix else []),
                   *(["--threads"] if self.config.getoption("--threads") else [])]  # fmt: skip
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "PYTHONPATH"))
        }
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode == BAD_SUBJECT:
            pytest.exit(told_by(done.stdout, done.stderr), returncode=BAD_SUBJECT)
        if done.returncode:
            raise NotConforming(told_by(done.stdout, done.stderr))
        if SKIPPED in done.stdout:
            pytest.skip("not promised")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style=None):
        """The rule, the trace and the picture, without our Python."""
        if isinstance(excinfo.value, NotConforming):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands."""
        return SUITE, 0, self.name


def told_by(output: str, errors: str) -> str:
    """What a failed run of the suite has to say, without pytest's frame."""
    lines = [line for line in output.splitlines() if not line.startswith(("F ", "=====", "_____"))]
    return "\n".join([*lines, *errors.splitlines()[-5:]]).strip().removeprefix("Exit: ")
