"""A walk of the window after an operation: the conclusion to the premise that an outline is.

What entered the index of free blocks and left it is read from the path's calls (promises.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import z3

from proofs.gaze import Gaze
from proofs.outline import LARGEST
from proofs.sight import Number, seen, term_of
from proofs.terms import simplify

ENTERS, LEAVES = "a free block enters the index", "a free block leaves the index"
NOT_IN = "a free block is not in the index, or under another size"
LEFT_IN = "the index has a block that is not free any longer"
NEIGHBOUR = "a neighbour's word is not as it was"


class Sighting(Gaze):
    """A walk of the window after an operation."""

    LARGEST = LARGEST

    @property
    def runs(self) -> tuple[tuple[Number, Number], ...]:
        """(start, end) of each run: as before, whatever blocks are in it now."""
        runs = self.path.scene.shape.runs
        return tuple((seen(run.start, self.decide), seen(run.end, self.decide)) for run in runs)

    @property
    def letters(self) -> str:
        """Of the window's blocks, before the operation."""
        return self.path.scene.shape.case.blocks

    def beside(self, address, step, flags, rule):
        """As it was, but for the flags."""
        known = self.path.scene.shape.kept
        base = next(base for at, base in known if at.eq(term_of(address)))
        return self.word(address, [seen(simplify(base + flags), self.decide)], rule, NEIGHBOUR)

    def visited(self):
        """As before, whatever lies there now."""
        order = self.path.scene.shape.order
        return [None if start is None else seen(start, self.decide) for start in order]

    def members(self, free, rule):
        """What was in the index, what entered it and left it, in turn."""
        scene = self.path.scene
        now = [self._pair(pair) for pair in scene.shape.members]
        for name, arguments in scene.calls:
            if name == ENTERS:
                now.append(self._pair(arguments))
            elif name == LEAVES:
                self._leave(now, self._pair(arguments), rule)
        for pair in free:
            self._leave(now, pair, rule)
        self.need(rule, LEFT_IN, not now)

    def _pair(self, terms: Sequence[z3.BitVecRef]) -> tuple[Number, ...]:
        return tuple(seen(term, self.decide) for term in terms)

    def _leave(self, now: list, pair: tuple[Number, ...], rule: str) -> None:
        """Takes it out of those that are in, where it must be, and of the same size."""
        same = [(other[0] == pair[0]) & (other[1] == pair[1]) for other in now]
        del now[self.pick(rule, NOT_IN, same)]

    def _candidate(self, value: Number, among: Sequence[Number]) -> Number:
        for candidate in among:
            if term_of(candidate).eq(term_of(value)):
                return candidate
        return super()._candidate(value, among)
