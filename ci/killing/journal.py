"""The journal of attempts: what was tried on the same contents before need not be tried again.

A text file of JSON lines, one an attempt; it runs nothing.  A kill is a fact: a rule was broken on
this text, twice.  What survived may be killed by another search, so it counts for the code alone
that it survived.
"""

from __future__ import annotations

import json
from pathlib import Path

from allocator import artifacts
from allocator.artifacts import ROOT
from ci.killing.attempt import ERROR, Attempt, Terms
from ci.killing.targets import Target

# What decides an attempt besides the target: the harness, the judge and the searches.
_CODE = ("models/**/*.py", "fuzz/*.[pch]*", "allocator/*.py", "allocator/harness/*.[ch]",
         "ci/killing/engines.py", "tests/strategies.py", "tests/stateful.py",
         "tests/hypothesis_search.py")  # fmt: skip


class Journal:
    """Attempts by key; with `resume` those of earlier runs too."""

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self._known: dict[str, Attempt] = {}
        self._code = code_version()
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume and path.is_file():
            text = path.read_text()
            for line in text.splitlines():
                self._read(line)
            if text and not text.endswith("\n"):  # what comes next must not be lost with it
                path.write_text(text + "\n")
        elif not resume:
            path.unlink(missing_ok=True)

    def _read(self, line: str) -> None:
        """A line cut short by the end of a run, or of an older form, says nothing."""
        try:
            entry = json.loads(line)
            attempt = Attempt(**entry["attempt"])
            if attempt.killed or entry["code"] == self._code:
                self._known[entry["key"]] = attempt
        except (ValueError, KeyError, TypeError):
            return

    def key(self, target: Target, engine: str, terms: Terms) -> str:
        """What decides the outcome; the place where files are written does not."""
        return artifacts.fingerprint(
            [target.content, target.name, [face.name for face in target.faces],
             engine, terms.layers, terms.seed, terms.cpu_seconds]
        )  # fmt: skip

    def known(self, key: str) -> Attempt | None:
        """The attempt made under this key, None if there is none."""
        return self._known.get(key)

    def add(self, key: str, attempt: Attempt) -> None:
        """Writes it down at once; an error may be mended before the next run, and is not kept."""
        if attempt.verdict == ERROR:
            return
        self._known[key] = attempt
        with self._path.open("a") as file:
            file.write(
                json.dumps({"key": key, "code": self._code, "attempt": attempt.as_dict()}) + "\n"
            )


def code_version(root: Path = ROOT) -> str:
    """Changes with anything that an attempt's outcome depends on, the target left out."""
    paths = sorted(path for pattern in _CODE for path in root.glob(pattern))
    return artifacts.fingerprint([artifacts.digest(path) for path in paths])
