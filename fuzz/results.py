"""What a fuzzing run has to say, as values and as JSON; it finds nothing out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.check import Finding
from models.contract import Contract
from models.observation import Run
from models.report import thumbnail
from models.trace import Trace, to_text

SCHEMA = 1
OK, VIOLATION, UNSTABLE, ERROR = "ok", "violation", "unstable", "error"


@dataclass(frozen=True)
class Report:
    """A finding and the files that were written about it, None where one was not."""

    finding: Finding
    contract: Contract
    trace_file: Path | None = None
    reproducer: Path | None = None
    test_file: Path | None = None


@dataclass
class Result:
    """What is known of one subject so far.

    `edges` is None where there are none to count; `vanished` names rules that were broken once
    and not again when the same trace was run once more; `raced` of the `ops` were those of threads
    that ran freely; `pulse` holds (seconds, executions so far),
    `sample` a program that ran, for a picture.
    """

    name: str
    error: str | None = None
    executions: int = 0
    ops: int = 0
    raced: int = 0
    seconds: float = 0.0
    edges: int | None = None
    states: int = 0
    policy: dict[str, Any] = field(default_factory=dict)
    rules_on: tuple[str, ...] = ()
    reports: list[Report] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    pulse: list[tuple[float, int]] = field(default_factory=list)
    sample: tuple[Trace, Run, Contract] | None = None

    @property
    def verdict(self) -> str:
        """violation, if a rule was broken again in a fresh process; else what went wrong."""
        if any(report.finding.reproduced for report in self.reports):
            return VIOLATION
        if self.error is not None:
            return ERROR
        return UNSTABLE if self.reports or self.vanished else OK

    def heap(self) -> str:
        """The heap in a few letters, at the first violation or in the sample; "" without both."""
        for report in self.reports[:1]:
            finding = report.finding
            broken = finding.verdict.violation
            return thumbnail(finding.trace, finding.run, report.contract, broken)
        return thumbnail(*self.sample, None) if self.sample else ""

    def line(self) -> str:
        """The subject in one line."""
        rules = {report.finding.rule for report in self.reports} | set(self.vanished)
        found = ", ".join(sorted(rules))
        if self.verdict == ERROR:
            # Most errors say of themselves which file they are about.
            told = str(self.error).removeprefix(f"{self.name}: ")
            return f"{self.name}: error: {told}{self._done()}"
        told = "ok" if self.verdict == OK else f"{self.verdict}: {found}"
        return f"{self.name}: {told}{self._done()}"

    def _done(self) -> str:
        counts = [f"{self.executions:,} executions", f"{self.ops:,} operations"]
        counts += [f"{self.raced:,} of them by free-running threads"] if self.raced else []
        counts += [f"{self.edges:,} edges"] if self.edges is not None else []
        counts += [f"{self.states:,} heap states"] if self.states else []
        return f" ({', '.join(counts)}, {self.seconds:.1f} s)" if self.executions else ""


_PULSES = 400


def pulse_of(result: Result, tell: Callable[[str], None]) -> Callable[[str], None]:
    """A `tell` that also notes how far the campaign is; every other note goes when there are many.

    The first note is that nothing is done yet.
    """
    started = time.monotonic()
    result.pulse.append((0.0, 0))

    def told(text: str) -> None:
        tell(text)
        result.pulse.append((time.monotonic() - started, result.executions))
        if len(result.pulse) > _PULSES:
            del result.pulse[1::2]

    return told


def to_json(seed: int, results: list[Result], out: Path) -> str:
    """The machine-readable form; file names are relative to `out`."""
    document = {
        "schema": SCHEMA,
        "tool": "fuzz",
        "seed": seed,
        "subjects": [_subject(result, out) for result in results],
    }
    return json.dumps(document, indent=2) + "\n"


def _subject(result: Result, out: Path) -> dict[str, Any]:
    return {
        "name": result.name,
        "verdict": result.verdict,
        "error": result.error,
        "executions": result.executions,
        "ops": result.ops,
        "raced": result.raced,
        "seconds": round(result.seconds, 2),
        "edges": result.edges,
        "states": result.states,
        "policy": result.policy,
        "rules_on": list(result.rules_on),
        "notes": result.notes,
        "findings": [_finding(report, out) for report in result.reports],
    }


def _finding(report: Report, out: Path) -> dict[str, Any]:
    finding = report.finding
    return {
        "rule": finding.rule,
        "message": finding.message,
        "ops": len(finding.trace),
        "reproduced": finding.reproduced,
        "trace": to_text(finding.trace),
        "trace_file": _relative(report.trace_file, out),
        "reproducer": _relative(report.reproducer, out),
        "test_file": _relative(report.test_file, out),
    }


def _relative(path: Path | None, out: Path) -> str | None:
    if path is None:
        return None
    return str(path.relative_to(out)) if path.is_relative_to(out) else str(path)
