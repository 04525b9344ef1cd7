"""One attempt at a kill: an engine, a wrong allocator, a budget, what came of it; values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.check import Finding
from models.rules import ALL, BLACK_BOX_RULES
from models.trace import to_text

KILLED, SURVIVED, UNSTABLE, ERROR = "killed", "survived", "unstable", "error"
LAYERS = {"black": BLACK_BOX_RULES, "white": ALL - {"model"}, "all": ALL}


@dataclass(frozen=True)
class Terms:
    """How an engine is run: `layers` names the rules that are on, `cpu_seconds` is the budget for
    each face of a target, `folder` takes what it writes."""

    layers: str
    seed: int
    cpu_seconds: float
    folder: Path

    @property
    def rules(self) -> frozenset[str]:
        """The rules that are on."""
        return LAYERS[self.layers]

    @property
    def looking(self) -> bool:
        """The allocator's own predicate may be called."""
        return self.layers != "black"


@dataclass(frozen=True)
class Attempt:
    """What came of an attempt.

    killed    a rule was broken, and broken again in a fresh process; `rule`, `message`, and the
              shrunk `trace` with its number of `ops`
    survived  nothing was found within the budget
    unstable  something was seen that did not show again
    error     the engine could not go on, `message` says why
    `executions` and `cpu` (seconds) are those on the variant that was killed, `face`, up to the
    first sight of the violation; of a survivor, all.  `spent` counts everything: compiling,
    variants that survived, confirming and shrinking.
    """

    verdict: str
    executions: int = 0
    cpu: float = 0.0
    rule: str = ""
    message: str = ""
    ops: int = 0
    trace: str = ""
    face: str = ""
    spent: float = 0.0

    @property
    def killed(self) -> bool:
        """A rule was broken, twice."""
        return self.verdict == KILLED

    def after(self, before: Attempt) -> Attempt:
        """The same with what an earlier attempt cost that killed nothing."""
        return replace(
            self, executions=self.executions + before.executions, cpu=self.cpu + before.cpu
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def of_finding(finding: Finding | None, executions: int, cpu: float) -> Attempt:
    """What the check pipeline's word makes of a suspicion."""
    if finding is None:
        return Attempt(UNSTABLE, executions, cpu)
    verdict = KILLED if finding.reproduced else UNSTABLE
    trace = finding.trace
    return Attempt(
        verdict, executions, cpu, finding.rule, finding.message, len(trace), to_text(trace)
    )
