"""Allocators to test with: the C files of tests/subjects/, and libraries made of them.

Inputs only: what must be true of them, the tests say.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from allocator import build, catalogue
from allocator.executor import open_executor
from allocator.subject import Subject, SubjectError
from models.observation import Run
from models.trace import from_text

SUBJECTS = Path(__file__).resolve().parent / "subjects"
HOSTILE = SUBJECTS / "hostile"
EXPLICIT_LIST = Path(build.__file__).parent / "explicit_list"
EXAMPLES = Path(build.__file__).parent / "examples"  # of FIVE_MINUTES.md

STEADY = """\
p0 = malloc 24
p1 = malloc 1000
free p0
p2 = malloc 100
p3 = malloc 3000
write p1
"""


def library(target: Path, *names: str, debug: bool = True) -> Path:
    """Compiles files of tests/subjects/ to a shared object, as a stranger would ship it."""
    sources = [SUBJECTS / name for name in names]
    built = build.shared(sources, target.stem, () if debug else ("-g0",))
    return Path(shutil.copy(built, target))


def library_of_text(target: Path, text: str, debug: bool = True) -> Path:
    """The same from C text."""
    source = target.with_suffix(".c")
    source.write_text(text)
    return library(target, str(source), debug=debug)


def run(subject: Subject, trace: str = STEADY) -> Run:
    """What a trace shows on a subject, in the sandbox."""
    with open_executor(subject, sandbox=True) as executor:
        return executor.run(from_text(trace))


def error_of(spec: str, **options: object) -> SubjectError:
    """The error that a spec must end in, checked to be one line."""
    with pytest.raises(SubjectError) as caught:
        catalogue.resolve(spec, **options)
    assert "\n" not in str(caught.value), f"not one line: {caught.value}"
    return caught.value
