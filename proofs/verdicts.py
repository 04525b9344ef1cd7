"""What was found out once need not be found out again: outcomes in files, by what they rest on.

The key is a digest of everything an outcome depends on; an outcome whose key has changed is never
looked at.  It decides nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import llvmlite
import z3

from allocator import artifacts
from proofs.subjects import CACHE, HERE, SOURCES

_DECIDES_NOTHING = (
    "run.py",
    "report.py",
    "follow.py",
    "side_by_side.py",
    "campaign.py",
    "count.py",
    "closure.py",
    "equivalence.py",
)


def key(*parts: object) -> str:
    """The digest of these parts, the code of proofs/, and the versions of solver and IR reader."""
    known = (z3.get_full_version(), llvmlite.__version__, _OWN_CODE, *map(str, parts))
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:32]


def recalled(kind: str, digest: str, since: float = 0.0) -> dict | None:
    """The outcome kept under this key at `since` (Unix time) or later, None if none is."""
    path = _path(kind, digest)
    try:
        return (
            json.loads(path.read_text(encoding="utf-8")) if path.stat().st_mtime >= since else None
        )
    except (OSError, ValueError):
        return None


def keep(kind: str, digest: str, outcome: dict) -> None:
    """Keeps an outcome for the next run."""
    artifacts.put(_path(kind, digest), json.dumps(outcome).encode())
    _path(kind, digest).touch()  # the same again is news too


def digest_of(paths: Iterable[Path]) -> str:
    """A digest of these files, and of those in these folders that a subject is made of.

    A heap walker is one of them.
    """
    digest = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*.*"))
        for file in files:
            if file.suffix in (".c", ".h", ".toml", ".py"):
                digest.update(str(file.relative_to(path.parent)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _path(kind: str, digest: str) -> Path:
    return CACHE / kind / f"{digest}.json"


def _digest_of_code() -> str:
    digest = hashlib.sha256()
    deciding = [path for path in HERE.glob("*.py") if path.name not in _DECIDES_NOTHING]
    for path in sorted([*deciding, *SOURCES.glob("*_walk.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# At once: what is written into these files later is not what this process runs.
_OWN_CODE = _digest_of_code()
