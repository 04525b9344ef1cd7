"""Programs for the exact model: short ones, rich in what it alone can tell to be wrong.

It decodes them and judges none; campaign.py does, and says how much of its time that may take.
"""

from __future__ import annotations

from allocator.executor import Executor
from fuzz.limits import Limits, program_bytes
from models.trace import Trace

# Short programs, for the model takes some 20 us an operation: what differs at all mostly does
# early, and a new heap is a new chance.
LENGTHS = (16, 64)  # operations
_SEEDS = 500_000_000  # away from those of the dense programs


class Questions:
    """Random programs from `seed`, one after another: dense ones, any, and those with rare ways."""

    def __init__(self, executor: Executor, limits: Limits, seed: int) -> None:
        self._executor = executor
        self._kinds = [each.pack() for each in (limits.dense(), limits, limits.rare())]
        self._first = seed * 1_000_000_007 + _SEEDS
        self._count = 0

    def next(self) -> Trace:
        """The next program."""
        turn, kind = divmod(self._count, len(self._kinds))
        self._count += 1
        length = program_bytes(LENGTHS[turn % len(LENGTHS)])
        self._executor.search(self._first + self._count, 1, length, self._kinds[kind])
        return self._executor.last_trace()
