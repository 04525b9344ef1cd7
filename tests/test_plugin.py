"""The pytest plugin: somebody else's repository runs the conformance suite by one line.

The repositories are made here; tests/test_conformance.py is the suite itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import EXAMPLES
from tests.threaded import plant

PLUGIN = Path(__file__).resolve().parent.parent / "ci" / "plugin"
CONFTEST = 'pytest_plugins = ["allocheck"]\n'
OWN = "import models\n\n\ndef test_of_their_own():\n    assert models.ours\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with an allocator, a test, and modules that bear the names of ours."""
    for name in ("pools.c", "pools.h", "pools.toml"):
        (tmp_path / name).write_text((EXAMPLES / "pools" / name).read_text())
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "models.py").write_text("ours = True\n")
    (tmp_path / "test_own.py").write_text(OWN)
    return tmp_path


def run_pytest(
    repository: Path, *words: str, path: str = str(PLUGIN)
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"PYTHONPATH": path, "ALLOCHECK_PROFILE": "quick"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *words],
        cwd=repository, env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def test_a_correct_allocator_conforms(repository):
    (repository / "pytest.ini").write_text(
        f"[pytest]\npythonpath = . {PLUGIN}\nallocator = pools.toml\n"
    )
    done = run_pytest(repository, "-k", "own or whole_traces or huge", path="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_own.py::test_of_their_own PASSED" in done.stdout
    assert "allocheck::test_whole_traces PASSED" in done.stdout
    assert "allocheck::test_huge_requests PASSED" in done.stdout
    assert "3 passed, 4 deselected" in done.stdout


def test_a_broken_one_is_told_by_its_trace(repository):
    source = repository / "pools.c"
    source.write_text(source.read_text().replace("pool->free_cells = cell->next;", ""))
    done = run_pytest(repository, "--allocator", "pools.toml", "-k", "whole_traces")
    assert done.returncode == 1
    assert "overlap: two live blocks share a byte" in done.stdout
    assert "<-- overlap" in done.stdout
    assert "Traceback" not in done.stdout


def test_threads_run_where_they_are_promised(repository, tmp_path_factory):
    assert "1 skipped" in run_pytest(repository, "-k", "freely", "--allocator=pools.toml").stdout
    wrong = plant("kept-without-lock", tmp_path_factory.mktemp("wrong"))
    done = run_pytest(repository, "-k", "freely", f"--allocator={wrong}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "# schedule: free-running" in done.stdout


def test_without_a_subject_nothing_is_added(repository):
    done = run_pytest(repository)
    assert done.returncode == 0
    assert "1 passed" in done.stdout


def test_a_subject_that_cannot_be_had_is_told(repository):
    done = run_pytest(repository, "--allocator", "nowhere.c", "-k", "whole_traces")
    assert done.returncode == 2
    assert "nowhere.c: no such file" in done.stdout
    assert "failed" not in done.stdout
