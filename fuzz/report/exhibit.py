"""One trace on one subject as a section of a page: the rule, the pictures, the steps, the commands.

Values only, from a trace, its run and the verdict; page.py lays them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fuzz.report.drawing import Drawing, close_up, every_state, over_time
from fuzz.report.layouts import modelled
from fuzz.report.plain_words import PLAIN
from fuzz.report.timeline import LIVE, Layout, Timeline, timeline
from models.contract import Contract
from models.judge import Predict
from models.observation import Run
from models.rules import RULES, Rule
from models.trace import Trace, to_text
from models.verdict import Verdict

WALKED = "the allocator's own walk"
MODELLED = "its exact model"


@dataclass(frozen=True)
class Exhibit:
    """What a page shows of a trace on a subject.

    rule       the broken one, None where the trace shows nothing wrong
    plain      that rule in plain words; `message` has the numbers of this violation
    strips     (heading, drawing) of the heap before and after the operation that broke it
    others     messages of the other rules that the run breaks
    commands   (what for, command or file) to see it again
    standing   how sure it is, in a line
    """

    key: str
    subject: str
    rule: Rule | None
    plain: str
    message: str
    timeline: Timeline
    picture: Drawing
    states: Drawing
    strips: tuple[tuple[str, Drawing], ...]
    others: tuple[str, ...]
    text: str
    commands: tuple[tuple[str, str], ...] = ()
    standing: str = ""

    @property
    def in_parts(self) -> frozenset[str]:
        """Which of header, payload and slack are seen."""
        return frozenset(part[2] for life in self.timeline.lives for part in life.parts)


def exhibit(
    key: str,
    trace: Trace,
    run: Run,
    verdict: Verdict,
    contract: Contract,
    *,
    walked: Sequence[Layout | None] = (),
    predict: Predict | None = None,
    commands: Sequence[tuple[str, str]] = (),
    standing: str = "",
) -> Exhibit:
    """The section about one trace; `key` is unique on its page.

    `walked` are the layouts that the allocator's own walk showed; without them the exact model's
    serve.
    """
    layouts = walked or modelled(trace, run, contract, predict)
    source = WALKED if walked else MODELLED
    shown = timeline(trace, run, verdict, contract, layouts, source)
    violation = verdict.violation
    return Exhibit(
        key=key,
        subject=trace.subject or "",
        rule=RULES[violation.rule] if violation else None,
        plain=PLAIN[violation.rule] if violation else "",
        message=violation.message if violation else "",
        timeline=shown,
        picture=over_time(shown),
        states=every_state(shown),
        strips=_strips(shown),
        others=tuple(each.message for each in verdict.all if each != violation)[:8],
        text=to_text(trace),
        commands=tuple(commands),
        standing=standing,
    )


def _strips(shown: Timeline) -> tuple[tuple[str, Drawing], ...]:
    """The heap around the violation, before and after; the fullest state where nothing is wrong."""
    if shown.violation is None:
        state = max(range(shown.first, shown.last + 1), key=lambda s: _live_bytes(shown, s))
        after = f"after operation {state - 1}" if state else "at the start"
        title = f"The heap at its fullest, {after}"
        return ((title, close_up(shown, state, title)),)
    at = shown.violation.op
    if at >= shown.last and at >= len(shown.steps) + shown.first:
        title = "The heap at the end, where the check was made"
        return ((title, close_up(shown, shown.last, title)),)
    before, after = f"Before operation {at}", f"After operation {at}"
    if shown.steps[at - shown.first].answer == "did not come back":
        after = f"Operation {at} did not come back; as it found the heap"
        return ((after, close_up(shown, at, after)),)
    return (before, close_up(shown, at, before)), (after, close_up(shown, at + 1, after))


def _live_bytes(shown: Timeline, state: int) -> int:
    return sum(life.size for life in shown.at(state) if life.kind == LIVE)
