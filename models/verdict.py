"""The judge's word on one run: values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: `op` is the index of the operation, len(trace) for the check at the end."""

    rule: str
    op: int
    message: str
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`violation` is the most telling one, None for a clean run; `all` lists every one found."""

    violation: Violation | None = None
    all: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """No rule was broken."""
        return self.violation is None

    @property
    def rule(self) -> str:
        """Name of the most telling broken rule, or "ok": what a trace's `expect` line holds."""
        return self.violation.rule if self.violation else "ok"
