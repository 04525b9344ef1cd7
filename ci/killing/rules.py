"""Is every rule needed?  For each a planted bug that it alone tells, or tells best.

By the bugs' saved traces, so it is quick and the same each time; tests/test_planted_bugs.py asks
the same of each bug with the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from allocator.artifacts import ROOT
from allocator.bugs import PlantedBug
from allocator.catalogue import resolve
from allocator.executor import open_executor
from allocator.subject import SubjectError
from fuzz.bench import exact_model
from models.judge import judge
from models.rules import ALL, BLACK_BOX, BLACK_BOX_RULES, MODEL, PRECEDENCE, RULES
from models.trace import TraceError, from_text
from models.verdict import Verdict

TRACES = ROOT / "tests" / "traces"
# What no saved trace shows, but free-running threads: tests/test_threads.py has its planted bug.
NOT_BY_TRACE = frozenset({"race"})


@dataclass(frozen=True)
class Witness:
    """What a planted bug's trace shows with its rule and without it; `error` where it cannot run.

    Both verdicts are of the rules up to and including the rule's own layer.
    """

    bug: PlantedBug
    with_rule: Verdict = field(default_factory=Verdict)
    without: Verdict = field(default_factory=Verdict)
    error: str = ""

    @property
    def needs_it(self) -> bool:
        """The rule names the bug, and nothing stands in for it: what else is seen without it
        comes later, or says less."""
        return not self.error and self.with_rule.rule == self.bug.rule and self.survives_or_worse

    @property
    def survives_or_worse(self) -> bool:
        """The half of it that speaks of the verdict without the rule."""
        seen, other = self.with_rule.violation, self.without.violation
        if other is None:
            return True
        if seen is None or other.rule == self.bug.rule:
            return False
        return (other.op, PRECEDENCE[other.rule]) > (seen.op, PRECEDENCE[self.bug.rule])

    def told(self) -> str:
        """What is seen without the rule, in a few words."""
        if self.error:
            return f"not run: {self.error}"
        if self.with_rule.rule != self.bug.rule:
            return f"not named: {self.with_rule.rule}"
        other = self.without.violation
        if other is None:
            return "survives"
        if not self.survives_or_worse:
            return f"as well told by {other.rule}"
        later = other.op - self.with_rule.violation.op
        return f"{other.rule}, {later} operations later" if later else f"{other.rule}, less telling"


def layer_rules(rule: str) -> frozenset[str]:
    """The rules up to and including the layer of `rule`."""
    layer = RULES[rule].layer
    if layer == BLACK_BOX:
        return BLACK_BOX_RULES
    return ALL if layer == MODEL else ALL - {"model"}


def trace_file(bug: PlantedBug) -> Path:
    """Where the bug's trace is saved."""
    return TRACES / bug.allocator / f"{bug.name}.trace"


def verdict(bug: PlantedBug, rules: frozenset[str]) -> Verdict:
    """The verdict on the bug's saved trace; nobody looks inside where no white-box rule is on."""
    trace = from_text(trace_file(bug).read_text())
    subject = resolve(bug.subject)
    with open_executor(subject, sandbox=True) as executor:
        run = executor.run(trace, check="none" if rules <= BLACK_BOX_RULES else "each")
    return judge(trace, run, subject.contract, rules, exact_model(subject))


def witness(bug: PlantedBug) -> Witness:
    """Both verdicts on a bug."""
    rules = layer_rules(bug.rule)
    try:
        return Witness(bug, verdict(bug, rules), verdict(bug, rules - {bug.rule}))
    except (OSError, SubjectError, TraceError) as error:
        return Witness(bug, error=str(error).splitlines()[0])


def witnesses(
    bugs: Iterable[PlantedBug], tell: Callable[[str], None] = lambda _text: None
) -> dict[str, list[Witness]]:
    """For every rule, what the bugs that name it show."""
    found: dict[str, list[Witness]] = {rule: [] for rule in RULES if rule not in NOT_BY_TRACE}
    for bug in bugs:
        tell(bug.subject)
        found[bug.rule].append(witness(bug))
    return found


def best_first(seen: Iterable[Witness]) -> list[Witness]:
    """Those that need the rule before the others, and quick ones before deep ones."""
    return sorted(seen, key=lambda each: (not each.needs_it, each.bug.deep))


def empty(found: dict[str, list[Witness]]) -> list[str]:
    """The rules that no bug needs."""
    return [rule for rule, seen in found.items() if not any(each.needs_it for each in seen)]
