"""The rule `model`: what a run showed, held against what the exact model of its allocator predicts.

It knows no allocator; the exact models are in models/exact/.
"""

from __future__ import annotations

from typing import Protocol

from models.judging.case import PAGES, RETURNED, SKIPPED, Case, answer
from models.observation import Observation
from models.trace import NO_NAME, Op


class ExactModel(Protocol):
    """Predicts what one allocator shows; one object sees one run."""

    def expected(self, op: Op, seen: Observation) -> int | None:
        """The address that `op` must give, as an offset from run.base; 0 for NULL, None for no
        prediction.  Called once for every operation in order, skipped ones too."""

    def usable(self, name: int) -> int | None:
        """Bytes that the block granted under `name` may use, None for no prediction."""

    def held(self) -> int | None:
        """Bytes of pages that the allocator holds now, None for no prediction."""

    def asked_pages(self) -> bool | None:
        """Whether the last operation asked for pages, granted or not; None for no prediction."""

    def layout(self) -> list[tuple[int, int, int]]:
        """All blocks from the lowest up, as the walk shows them: (offset, size, used)."""


def compare(case: Case, model: ExactModel) -> None:
    """Up to the first difference: address, usable size, pages held, whether pages were asked for;
    and the layout at the end.

    What follows a difference means nothing.  The layout is compared where the run has one.
    """
    pairs = zip(case.trace.ops, case.run.observations, strict=False)
    for index, (op, seen) in enumerate(pairs):
        if index >= case.run.done and not seen.flags & RETURNED:
            return
        expected = model.expected(op, seen)
        if seen.flags & SKIPPED:
            continue
        differs = _address(case, op, seen, expected) or _sizes(case, op, seen, model, expected)
        if differs:
            blocks = () if op.name == NO_NAME else (op.name,)
            case.charge(index, ("model", f"the exact model {differs}"), blocks=blocks)
            return
    if case.run.layout is not None and case.trace.ops:
        _layout(case, case.run.layout, model.layout())


def _address(case: Case, op: Op, seen: Observation, expected: int | None) -> str:
    if expected is None:
        return ""
    wanted = expected + case.run.base if expected else 0
    given = answer(op, seen)
    return "" if given == wanted else f"predicts {_told(case, wanted)}, seen {_told(case, given)}"


def _sizes(case: Case, op: Op, seen: Observation, model: ExactModel, expected: int | None) -> str:
    usable = model.usable(op.name) if expected and seen.usable else None
    if usable is not None and usable != seen.usable:
        return f"predicts {usable} usable bytes, seen {seen.usable}"
    return _pages(seen, model) if case.run.memory_known else ""


def _pages(seen: Observation, model: ExactModel) -> str:
    """Pages that nobody needed are a request in vain, and fail where they are refused."""
    held, asked, does = model.held(), model.asked_pages(), bool(seen.flags & PAGES)
    if held is not None and held != seen.granted:
        return f"predicts that {held} bytes of pages are held, seen {seen.granted}"
    if asked is not None and asked != does:
        told = ("does not ask", "asks")
        return f"predicts that it {told[asked]} for pages, seen that it {told[does]}"
    return ""


def _layout(
    case: Case, walked: tuple[tuple[int, int, int], ...], expected: list[tuple[int, int, int]]
) -> None:
    seen = [(address - case.run.base, size, used) for address, size, used in walked]
    if seen == expected:
        return
    both = zip(seen, expected, strict=False)
    same = next((i for i, (one, other) in enumerate(both) if one != other), None)
    if same is None:
        same = min(len(seen), len(expected))
    told = " and ".join(
        f"{who} {_block(blocks[same]) if same < len(blocks) else 'no more'}"
        for who, blocks in (("the exact model has", expected), ("the walk shows", seen))
    )
    case.charge(len(case.trace) - 1, ("model", f"block {same} of the layout: {told}"))


def _block(block: tuple[int, int, int]) -> str:
    offset, size, used = block
    return f"{size} bytes {'used' if used else 'free'} at +{offset:#x}"


def _told(case: Case, address: int) -> str:
    return case.place(address) if address else "NULL"
