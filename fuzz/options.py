"""How a campaign is run: its options, and what its phases share of its budget.

Values alone; campaign.py does the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.rules import ALL

TRACES = Path(__file__).resolve().parent.parent / "tests" / "traces"
KNOWN_LIMIT = 200  # suspects that show nothing but rules found already, where runs are counted
ASKING = 1 / 3  # seconds for the exact model to a second of search; a program to so many...
ASKED_OF = 16  # ... where runs are counted
SAVED_SHARE = 0.5  # at most; what is left is the others'
DENSE_SHARE, CYCLES_SHARE = 0.45, 0.15
RACE_SHARE = 0.3  # for free-running threads, before the others share the rest
THREADS = 3
SANITIZED_SHARE = 0.2  # ... and of those built with ThreadSanitizer
SEARCH_SHARE = 0.8  # of what is left; the rest is for the survey of the corpus


@dataclass(frozen=True)
class Options:
    """How a campaign is run; seconds and runs are budgets for one subject, 0 for none.

    Of a subject that promises threads so many run freely; `promised`: the command line promises it.
    `tsan` is the compiler for ThreadSanitizer, "" for any that has it; None: without.
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
    threads: int = THREADS
    promised: bool = False
    tsan: str | None = None

    @property
    def finding(self) -> dict[str, Any]:
        """How the subject is to be resolved: resolve()'s words."""
        return {"prefix": self.prefix, **({"threads": True} if self.promised else {})}
