"""A walk over a heap of plain numbers, as a library or a followed trace left it.

It asks nothing of a solver: what does not hold is raised, with its rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proofs.sight import truth_of
from proofs.walks import STRAY, Between, View


class Unsound(Exception):
    """The heap is not valid; `rule` names the promise that is broken."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@dataclass
class Glance(View):
    """The walker's view of a heap that stands still.

    read   (address, bytes) -> the number there, lowest byte first
    seals  the opaque functions by name, of integers
    """

    read: Callable[[int, int], int] = None  # type: ignore[assignment]
    seals: Mapping[str, Callable[..., int]] = field(default_factory=dict)

    def word(self, address, among, rule, what=STRAY, size=8):
        """The number, if it is one of those that it may be; raises Unsound."""
        value = self.read(address, size)
        self.need(rule, what, _is_among(value, among))
        return value

    def need(self, rule, what, fact: Any):
        """Raises Unsound unless it holds."""
        if not truth_of(fact):
            raise Unsound(rule, what)

    def zeros(self, address, size, rule, what=STRAY):
        """Raises Unsound unless all are 0."""
        self.need(rule, what, self.read(address, size) == 0)

    def sealed(self, address, name, arguments, rule):
        """Raises Unsound unless the function, where it is given, makes just that of them."""
        if name in self.seals:
            right = self.seals[name](*arguments) == self.read(address, 8)
            self.need(rule, "a checksum is not that of what it seals", right)

    def any_field(self, name):
        """Nothing to look at."""
        self.places.field(name)


def _is_among(value: int, among) -> bool:
    if not isinstance(among, Between):
        return value in among
    within = (value - flag for flag in among.also)
    return any(
        among.low <= size <= among.high and (size - among.low) % among.step == 0 for size in within
    )
