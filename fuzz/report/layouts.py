"""Where an allocator's blocks lie after each operation, as its exact model knows it.

Values for timeline.py; the walks of a running allocator are somebody else's to take.
"""

from __future__ import annotations

from fuzz.report.timeline import Layout
from models.contract import Contract
from models.judge import Predict
from models.judging.case import answer
from models.observation import Run, Seen
from models.trace import Trace

LONGEST = 400  # operations; of longer traces nobody wants every layout


def modelled(
    trace: Trace, run: Run, contract: Contract, predict: Predict | None
) -> list[Layout | None]:
    """The layout in each state; none from the first address on that the model did not predict."""
    if predict is None or len(trace) > LONGEST:
        return []
    model = predict(trace, run, contract)
    layouts: list[Layout | None] = [sorted(model.layout())]
    for op, seen in zip(trace.ops[: run.done], run.observations, strict=False):
        expected = model.expected(op, seen)
        given = answer(op, seen) - run.base if answer(op, seen) else 0
        if expected is not None and not seen.flags & Seen.SKIPPED and expected != given:
            break
        layouts.append(sorted(model.layout()))
    return layouts
