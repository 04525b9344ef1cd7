"""How a campaign is run: its options, and what its phases share of its budget.

Values and a clock; campaign.py does the work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from models.rules import ALL

TRACES = Path(__file__).resolve().parent.parent / "tests" / "traces"
KNOWN_LIMIT = 200  # suspects that show nothing but rules found already, where runs are counted
DENSE_SHARE, CYCLES_SHARE = 0.35, 0.15
SEARCH_SHARE = 0.8  # of what is left; the rest is for the survey of the corpus


@dataclass(frozen=True)
class Options:
    """How a campaign is run; seconds and runs are budgets for one subject, 0 for none.

    A campaign ends with so many `findings`: one bug that corrupts the heap shows in many ways.
    Rules that are `found` already are not looked for again.  `part` tells several processes on
    one subject apart: each has logs of its own, and they leave the corpus to whoever started them.
    """

    seconds: float = 0
    runs: int = 0
    seed: int = 1
    out: Path = Path("out/fuzz")
    prefix: str | None = None
    edges: bool = True
    states: bool = True
    dense: bool = True
    cycles: bool = True
    guided: bool = True
    findings: int = 4
    rules: frozenset[str] = ALL
    saved: Path = TRACES
    found: frozenset[str] = frozenset()
    part: str = ""
    brief: bool = False


class Budget:
    """A share of a campaign's budget; counts executions or time, whichever is limited."""

    def __init__(self, options: Options, share: float) -> None:
        self.seconds = options.seconds * share
        self.runs = max(1, int(options.runs * share)) if options.runs else 0
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
        return min(wanted, self.runs - self._spent) if self.runs else wanted

    def spend(self, executions: int) -> None:
        """Takes note of so many."""
        self._spent += executions
