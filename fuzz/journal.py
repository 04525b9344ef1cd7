"""The journal: one small shared file that survives the death of the worker who writes it.

It holds counts and the bytes of the program under way; what they mean, the decoder knows.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct("<QQQ")


@dataclass(frozen=True)
class Entry:
    """What a journal says: totals since it was made, and the last program that was started."""

    executions: int = 0
    bytes: int = 0
    program: bytes = b""


class Journal:
    """The writer's side; `capacity` is the longest program in bytes."""

    def __init__(self, path: Path, capacity: int) -> None:
        with path.open("w+b") as file:
            file.truncate(_HEAD.size + capacity)
            self._memory = mmap.mmap(file.fileno(), _HEAD.size + capacity)
        self._capacity = capacity
        self.executions = 0
        self._bytes = 0

    def write(self, program: bytes) -> None:
        """Notes that `program` is about to run."""
        self.executions += 1
        self._bytes += len(program)
        kept = program[: self._capacity]
        _HEAD.pack_into(self._memory, 0, self.executions, self._bytes, len(kept))
        self._memory[_HEAD.size : _HEAD.size + len(kept)] = kept


def read_journal(path: Path) -> Entry:
    """What the journal at `path` says now; an empty entry where there is none yet."""
    try:
        raw = path.read_bytes()
        executions, total, size = _HEAD.unpack_from(raw)
    except (OSError, struct.error):
        return Entry()
    return Entry(executions, total, raw[_HEAD.size : _HEAD.size + size])
