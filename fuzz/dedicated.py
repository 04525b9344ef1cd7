"""Traces made for one rule: those that need many operations, or refused pages.

It makes them of others, and says which are worth judging; it runs none.
"""

from __future__ import annotations

from collections.abc import Iterator

from allocator.subject import Subject
from models import cycles
from models.observation import Run
from models.trace import Kind, Trace


def dedicated(trace: Trace, subject: Subject) -> Iterator[Trace]:
    """Traces made from `trace` for the rules that need many operations or refused pages."""
    contract = subject.contract
    store = contract.arena or cycles.STORE
    if contract.reclaims and "free" in subject.has:
        yield cycles.cycle_trace(trace)
        yield cycles.exhaust(trace, probe=store // 64, store=store)
        if contract.coalesces:
            yield cycles.largest_block(trace, store)
    if subject.memory_known:
        yield from cycles.denials(trace)


def worth_judging(trace: Trace, run: Run) -> bool:
    """A dedicated trace that may show more than the tripwire sees.

    Under refusals that is nothing.  Repeated cycles must hold more and more, or grant less; what
    a single one could have before and after, the judge must compare.
    """
    if run.suspicious:
        return True
    held, capacity, granted = [], [], 0
    for op, seen in zip(trace, run.observations, strict=False):
        granted += op.size if seen.address else 0
        if op.kind is Kind.FREE_ALL:
            held.append(seen.granted)
            capacity.append(granted)
            granted = 0
    if len(held) >= cycles.EXHAUSTING_CYCLES:
        return held[-1] > held[len(held) // 2] or capacity[-1] < max(capacity)
    return all(op.kind is not Kind.DENY for op in trace)
