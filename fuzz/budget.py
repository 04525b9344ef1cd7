"""What a phase of a campaign may spend: executions or seconds, whichever is limited.

It measures and limits nothing by itself: the phase asks.
"""

from __future__ import annotations

import time


class Budget:
    """A share of a campaign's budget; counts executions or time, whichever is limited."""

    def __init__(self, seconds: float, runs: int, share: float) -> None:
        self.seconds = seconds * share
        self.runs = max(1, int(runs * share)) if runs else 0
        self._spent = 0
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started

    def cut(self, wanted: int) -> int:
        """How many executions may be done now; 0 when the budget is spent."""
        if self.seconds and self.elapsed >= self.seconds:
            return 0
        return min(wanted, max(0, self.runs - self._spent)) if self.runs else wanted

    def spend(self, executions: int) -> None:
        """So many were done."""
        self._spent += executions
