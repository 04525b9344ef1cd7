"""A campaign as a section of a page: how it went, what it ran, which lines of the C it reached.

Values that whoever searched hands over; it counts nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.report.chart import line_chart
from fuzz.report.drawing import Drawing

_LONGEST_FILE = 4000  # lines


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of C: how many programs executed it, None where there is no code."""

    number: int
    text: str
    programs: int | None

    @property
    def style(self) -> str:
        """Class of the style sheet."""
        return "" if self.programs is None else "reached" if self.programs else "missed"


@dataclass(frozen=True)
class SourceFile:
    """A source of the subject, line by line."""

    name: str
    lines: tuple[SourceLine, ...]

    @property
    def code(self) -> int:
        """Lines with code."""
        return sum(line.programs is not None for line in self.lines)

    @property
    def reached(self) -> int:
        """Lines with code that some program executed."""
        return sum(bool(line.programs) for line in self.lines)

    @property
    def percent(self) -> int:
        """Of the lines with code, rounded down: 100 means all."""
        return 100 * self.reached // self.code if self.code else 0


@dataclass(frozen=True)
class Campaign:
    """What is shown of a campaign; whatever is not known is empty.

    charts   (heading, drawing)
    mix      (operation, times, share in 0..1), the most frequent first
    files    sources with the lines that were reached; `programs` is how many were looked at
    """

    charts: tuple[tuple[str, Drawing], ...] = ()
    mix: tuple[tuple[str, int, float], ...] = ()
    files: tuple[SourceFile, ...] = ()
    programs: int = 0
    rules_on: tuple[str, ...] = ()
    policy: Mapping[str, object] = field(default_factory=dict)


def campaign(
    pulse: Sequence[tuple[float, float]],
    coverage: Sequence[tuple[float, float]],
    operations: Mapping[str, int],
    lines: Mapping[Path, Mapping[int, int]],
    programs: int = 0,
    rules_on: Sequence[str] = (),
    policy: Mapping[str, object] | None = None,
) -> Campaign:
    """The section about one campaign.

    pulse       (seconds, executions so far); coverage: (executions, edges and heap states so far)
    operations  how often each was executed, in the programs looked at
    lines       file -> line -> how many of `programs` programs executed it
    """
    charts = []
    if len(pulse) > 1:
        says = f"{pulse[-1][1]:,.0f} executions in {pulse[-1][0]:.1f} seconds."
        charts.append(("Executions over time", line_chart(pulse, says)))
    if len(coverage) > 1:
        says = f"{coverage[-1][1]:,.0f} edges and heap states after {coverage[-1][0]:,.0f}."
        drawn = line_chart(coverage, says, "guided executions")
        charts.append(("Edges and heap states", drawn))
    total = sum(operations.values()) or 1
    mix = sorted(operations.items(), key=lambda pair: (-pair[1], pair[0]))
    return Campaign(
        tuple(charts),
        tuple((name, count, count / total) for name, count in mix),
        tuple(source_file(path, hit) for path, hit in sorted(lines.items()) if hit),
        programs,
        tuple(rules_on),
        {name: value for name, value in (policy or {}).items() if value not in (None, {}, 0)},
    )


def source_file(path: Path, hit: Mapping[int, int]) -> SourceFile:
    """The file's text beside what was reached of it; empty where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    rows = enumerate(text.split("\n")[:_LONGEST_FILE], 1)
    lines = (SourceLine(number, row.expandtabs(4), hit.get(number)) for number, row in rows)
    return SourceFile(f"{path.parent.name}/{path.name}", tuple(lines))
