"""From addresses to places on paper: runs of them to scale, what lies between cut short.

Plain numbers; it knows neither blocks nor pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_NEAR = 64  # bytes between two intervals that always belong to one run
_BREAK = 0.06  # of the paper, for what lies between two runs; less where there are many
_BREAKS = 0.3  # of the paper, for all of them
_LEAST = 0.05  # of the paper, for each run


@dataclass(frozen=True)
class Run:
    """Addresses [low, high) between two places of the paper, in 0..1; a break is not to scale."""

    low: int
    high: int
    start: float
    end: float
    is_break: bool = False


class Scale:
    """The paper's length, 0..1: runs of `intervals` share it in proportion to their bytes.

    It reaches from the lowest to the highest address of intervals and `margins`; what only these
    cover is drawn as a break.
    """

    def __init__(
        self, intervals: Iterable[tuple[int, int]], margins: Iterable[tuple[int, int]] = ()
    ) -> None:
        outer = list(margins)
        inner = _merged(sorted(intervals)) or _merged(sorted(outer)) or [(0, 1)]
        low = min([inner[0][0], *(each[0] for each in outer)])
        high = max([inner[-1][1], *(each[1] for each in outer)])
        self.runs = _placed(list(_with_breaks(inner, low, high)))

    def place(self, address: int) -> float:
        """Where an address is; what is outside is at the nearest end."""
        for run in self.runs:
            if address < run.high:
                inside = max(address - run.low, 0) / (run.high - run.low)
                return run.start + inside * (run.end - run.start)
        return self.runs[-1].end

    def span(self, low: int, high: int) -> tuple[float, float]:
        """Start and length of the addresses [low, high)."""
        start = self.place(low)
        return start, self.place(high) - start


def _merged(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of intervals that are near each other, for the size of what they hold."""
    near = max(_NEAR, sum(high - low for low, high in intervals) // 16)
    merged: list[tuple[int, int]] = []
    for low, high in intervals:
        if merged and low - merged[-1][1] <= near:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, max(high, low + 1)))
    return merged


def _with_breaks(inner: list[tuple[int, int]], low: int, high: int):
    """(low, high, is a break) without a hole from `low` to `high`."""
    reached = low
    for start, end in inner:
        if start > reached:
            yield reached, start, True
        yield start, end, False
        reached = end
    if high > reached:
        yield reached, high, True


def _placed(stretches: list[tuple[int, int, bool]]) -> list[Run]:
    breaks = sum(is_break for *_, is_break in stretches)
    gap = min(_BREAK, _BREAKS / breaks) if breaks else 0.0
    total = sum(high - low for low, high, is_break in stretches if not is_break)
    shares = [
        0.0 if is_break else max((high - low) / total, _LEAST) for low, high, is_break in stretches
    ]
    per_share = (1 - gap * breaks) / sum(shares)
    runs, place = [], 0.0
    for (low, high, is_break), share in zip(stretches, shares, strict=True):
        end = place + (gap if is_break else share * per_share)
        runs.append(Run(low, high, place, end, is_break))
        place = end
    return runs
