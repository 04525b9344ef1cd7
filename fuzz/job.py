"""What the parent tells its worker, and what the worker tells back: values only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from allocator.subject import Subject
from models.rules import ALL

MAX_PROGRAM = 4104
STATE_COUNTERS = 1 << 7  # harness/states.h: STATE_COUNT
ENOUGH = 3  # exit status of a worker that has found what it can
SEARCH_CPU_MS = 50  # a program that takes longer is suspicious; the judge gives it more


@dataclass(frozen=True)
class Job:
    """A search to be done by a worker.

    runs and seconds are budgets, 0 for none; `known_limit` ends the search after so many
    suspects that show what was told already, 0 for never.
    """

    subject: Subject
    limits: bytes
    decoder: Path
    mutator: Path | None  # None: libFuzzer's own, which knows bytes alone
    corpus: Path
    journal: Path
    runs: int = 0
    seconds: float = 0
    seed: int = 1
    max_program: int = MAX_PROGRAM
    states: bool = True
    stop_at_first: bool = False
    known_limit: int = 0
    rules: frozenset[str] = ALL


@dataclass(frozen=True)
class Suspect:
    """A trace that broke `rule` in the worker; the parent has the last word."""

    rule: str
    trace: str
    executions: int


@dataclass(frozen=True)
class Survey:
    """What a corpus covers: C edges hit (None: not built with coverage) and heap states seen."""

    edges: int | None
    states: int


def to_line(message: Suspect | Survey) -> bytes:
    """A message as one line of JSON."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def from_line(line: bytes) -> Suspect | Survey | None:
    """The message in a line; None for a line cut short by the worker's death."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = {"Suspect": Suspect, "Survey": Survey}[fields.pop("kind")]
        return kind(**fields)  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
