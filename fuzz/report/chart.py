"""Line charts of counts over time, as lists of lines and words with their places.

It knows what numbers look like and not what they count.
"""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.report.drawing import Drawing, Line, Word

WIDTH, HEIGHT = 460.0, 170.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 12.0, 12.0, 28.0
_STEPS = 3


def line_chart(points: Sequence[tuple[float, float]], says: str, unit: str = "s") -> Drawing:
    """One line through (time, count) points in order of time; two points at least."""
    most_x = max(x for x, _ in points) or 1.0
    top = ceiling(max(y for _, y in points))
    drawing = Drawing(HEIGHT, says, width=WIDTH, left=_LEFT)
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + wide * x / most_x, _TOP + tall * (1 - y / top)

    for step in range(_STEPS + 1):
        value = top * step / _STEPS
        (left, y), (right, _) = at(0, value), at(most_x, value)
        drawing.lines.append(Line(((left, y), (right, y)), "grid"))
        drawing.words.append(Word(left - 6, y + 4, count_text(value), "end"))
    drawing.lines.append(Line(tuple(at(x, y) for x, y in points), "series"))
    drawing.words.append(Word(_LEFT, HEIGHT - 8, "0", "start"))
    drawing.words.append(Word(WIDTH - _RIGHT, HEIGHT - 8, f"{count_text(most_x)} {unit}", "end"))
    return drawing


def ceiling(value: float) -> float:
    """A round number that is not below `value` and divides by three: 3, 6, 15, 30, 60, ..."""
    size = 1.0
    while True:
        for round_one in (3, 6, 15):
            if round_one * size >= value:
                return round_one * size
        size *= 10


def count_text(value: float) -> str:
    """1,200,000 as 1.2M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
