"""The store of built files: what was built from the same inputs before is not built again.

It knows files and hashes; what a compiler is, allocator/build.py knows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1


def directory() -> Path:
    """Where built files live: $ALLOCHECK_CACHE, else .cache/build in the checkout."""
    chosen = os.environ.get("ALLOCHECK_CACHE")
    path = Path(chosen).resolve() if chosen else ROOT / ".cache" / "build"
    path.mkdir(parents=True, exist_ok=True)
    return path


def is_empty() -> bool:
    """Whether nothing was built yet."""
    return not any(directory().glob("*.json"))


def digest(path: Path) -> str:
    """SHA-256 of a file's content; "" for a file that cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def fingerprint(value: object) -> str:
    """A short name for a plain value: 16 hexadecimal digits of its hash."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stem_of(name: str) -> str:
    """A name as the beginning of a file name."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)[:60] or "subject"


def fetch(
    stem: str, suffix: str, recipe: Mapping[str, object], produce: Callable[[Path], Iterable[Path]]
) -> Path:
    """The file that `recipe` makes: from the store if it is there and whole, else built now.

    `recipe` holds everything that decides the result but the files met on the way: those
    `produce(target)` returns after writing `target`, and a change in one of them builds anew.
    Safe under parallel use: files appear whole, under a name that holds their content's hash.
    """
    stem = stem_of(stem)
    manifest = directory() / f"{stem}-{fingerprint([SCHEMA, stem, suffix, recipe])}.json"
    stored = _stored(manifest)
    if stored:
        return stored
    with tempfile.TemporaryDirectory(prefix="build-", dir=directory()) as scratch:
        made = Path(scratch) / f"{stem}{suffix}"
        read = sorted({path.resolve() for path in produce(made)})
        checksum = digest(made)
        entry = {
            "file": f"{stem}-{checksum[:16]}{suffix}",
            "size": made.stat().st_size,
            "sha256": checksum,
            "read": {str(path): digest(path) for path in read},
        }
        os.replace(made, directory() / str(entry["file"]))
        _write_whole(manifest, json.dumps(entry, indent=1).encode(), Path(scratch))
    return directory() / str(entry["file"])


def written(stem: str, suffix: str, content: str) -> Path:
    """A generated source in the store, named after its content."""
    data = content.encode()
    path = directory() / f"{stem_of(stem)}-{fingerprint(content)}{suffix}"
    put(path, data)
    return path


def put(path: Path, data: bytes) -> None:
    """Makes `path` hold `data`, at once for everybody who looks."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="write-", dir=directory()) as scratch:
        _write_whole(path, data, Path(scratch))


def _write_whole(path: Path, data: bytes, scratch: Path) -> None:
    draft = scratch / "draft"
    draft.write_bytes(data)
    os.replace(draft, path)


def _stored(manifest: Path) -> Path | None:
    """The file behind a manifest; None if anything about it is missing, broken or out of date."""
    try:
        entry = json.loads(manifest.read_bytes())
        path = manifest.parent / entry["file"]
        if path.stat().st_size != entry["size"] or digest(path) != entry["sha256"]:
            return None
        fresh = all(digest(Path(name)) == known for name, known in entry["read"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return path if fresh else None
