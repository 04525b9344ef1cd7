"""Policy: what was seen where allocators may differ; never a violation.

It accumulates over runs and is told in reports; models/judge.py does not look at it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from models.judging.case import answer, is_null
from models.observation import Observation, Run, Seen
from models.trace import ALIGNING, ALLOCATING, Kind, Op, Trace

_MOST = 4096
_ORDINARY = 16  # smaller requests may be aligned to less


@dataclass
class Policy:
    """What an allocator was seen to do.

    `alignment` is the largest power of two (at most 4096) that every ordinary block of 16 bytes
    or more was aligned to, in bytes, 0 where none was seen; `smallest_usable` is in bytes too.
    `malloc_zero` and `realloc_zero` count the answers "null", "unique" and "shared"; `failures`
    counts what errno was after a failed request ("kept": not written).  `free_keeps_errno` is
    None where free was never called.
    """

    alignment: int = 0
    smallest_usable: int = 0
    malloc_zero: dict[str, int] = field(default_factory=dict)
    realloc_zero: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    free_keeps_errno: bool | None = None

    def see(self, trace: Trace, run: Run) -> None:
        """Takes note of a run."""
        live: dict[int, int] = {}
        for op, seen in zip(trace.ops[: run.done], run.observations, strict=False):
            if seen.flags & Seen.SKIPPED:
                continue
            if op.kind in ALLOCATING:
                self._see_answer(op, seen, live)
            elif op.kind is Kind.FREE:
                kept = not seen.flags & Seen.ERRNO
                self.free_keeps_errno = kept and self.free_keeps_errno is not False
                live.pop(op.first, None)
            elif op.kind is Kind.FREE_ALL:
                live.clear()

    def _see_answer(self, op: Op, seen: Observation, live: dict[int, int]) -> None:
        address = answer(op, seen)
        if not op.size:
            self._see_zero(op, address, live)
        elif not address:
            written = seen.flags & Seen.ERRNO or op.kind is Kind.POSIX_MEMALIGN
            _count(self.failures, _error_text(seen.error) if written else "kept")
        elif op.kind not in ALIGNING and op.size >= _ORDINARY:
            lowest = address & -address
            self.alignment = min(self.alignment or _MOST, lowest)
        if seen.usable:
            self.smallest_usable = min(self.smallest_usable or seen.usable, seen.usable)
        if address:
            if op.kind is Kind.REALLOC:
                live.pop(op.first, None)
            live[op.name] = address

    def _see_zero(self, op: Op, address: int, live: dict[int, int]) -> None:
        if op.kind is Kind.MALLOC:
            counts, others = self.malloc_zero, live
        elif op.kind is Kind.REALLOC and not is_null(op):
            # The block itself may be what realloc gives back.
            counts = self.realloc_zero
            others = {name: each for name, each in live.items() if name != op.first}
        else:
            return
        shared = address in others.values()
        _count(counts, "null" if not address else "shared" if shared else "unique")

    def as_dict(self) -> dict[str, object]:
        """The same for JSON."""
        return {
            "alignment": self.alignment,
            "smallest_usable": self.smallest_usable,
            "malloc_zero": dict(sorted(self.malloc_zero.items())),
            "realloc_zero": dict(sorted(self.realloc_zero.items())),
            "failures": dict(sorted(self.failures.items())),
            "free_keeps_errno": self.free_keeps_errno,
        }


def _count(counts: dict[str, int], what: str) -> None:
    counts[what] = counts.get(what, 0) + 1


def _error_text(value: int) -> str:
    return errno.errorcode.get(value, str(value))
