"""The suite's own options, known to pytest before it tells paths from options (addopts: -p).

In a conftest.py they would come too late: the value of `--allocator mine.c` is a path that exists.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("allocheck")
    group.addoption(
        "--allocator",
        metavar="SUBJECT",
        help="run the conformance suite, and nothing else, on a bundled name, x.c, x.so or x.toml",
    )
    group.addoption("--prefix", help="how the functions of a .c or .so start")
    group.addoption("--threads", action="store_true", help="a .c or .so promises threads")
