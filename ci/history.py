"""Benchmarks over time: a line of JSON a night, and today beside the median of the last ones.

It measures nothing and fails nothing: machines are noisy, so a ratio is read by a person.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAST = 10
NOTABLE = 1.25
Figures = dict[str, float]


@dataclass(frozen=True)
class Change:
    """A figure today, and how many times the median of the last ones it is."""

    name: str
    now: float
    median: float

    @property
    def ratio(self) -> float:
        """Today by median."""
        return self.now / self.median if self.median else 1.0

    @property
    def notable(self) -> bool:
        """Worth a look, whichever way."""
        return not 1 / NOTABLE < self.ratio < NOTABLE


def figures_of(document: Mapping[str, Any]) -> Figures:
    """The ratios in the JSON of ci/bench.py: they mean the same on another machine."""
    batch = {
        f"checked : bare, {row['trace']}": row["checked"] / row["bare"]
        for row in document.get("batch", [])
        if row.get("bare")
    }
    drivers = {
        f"Python : C callback, {row['bytes']} bytes": row["python"] / row["native"]
        for row in document.get("drivers", [])
        if row.get("native")
    }
    return batch | drivers


def past(path: Path) -> list[Figures]:
    """The figures of the nights so far, oldest first; a broken line is passed by."""
    nights = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            nights.append(
                {name: float(value) for name, value in json.loads(line)["figures"].items()}
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return nights


def compare(now: Figures, nights: list[Figures]) -> list[Change]:
    """Each figure of today that was measured before, beside its median."""
    changes = []
    for name, value in now.items():
        before = [night[name] for night in nights[-LAST:] if name in night]
        if before:
            changes.append(Change(name, value, statistics.median(before)))
    return changes


def append(path: Path, date: str, now: Figures) -> None:
    """Adds a night."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"date": date, "figures": now}) + "\n")
