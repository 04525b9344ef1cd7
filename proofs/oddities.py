"""Requests that no program of plain sizes makes: of NULL, with an alignment that is none, too much.

What each of them owes is that of the ordinary operation, or of a refusal.  Nothing follows them:
they are the last operation of their programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import z3

from proofs.logic import equal
from proofs.path import Path
from proofs.programs import MISALIGNED, OUTSIDE, Exploration
from proofs.scenery import Step, concluded, next_number, told
from proofs.terms import WORD, number

SMALL, NONE = 8, 24  # an alignment that every block has; what is no alignment
MANY, TOO_MANY = (
    2 ** (WORD // 2 + 1),
    2 ** (WORD // 2 - 1),
)  # their product is one more than there are numbers


@dataclass
class OddExploration(Exploration):
    """An exploration whose menu may have the verb "odd"."""

    def odd(self, state: Path) -> Iterator[Path]:
        """What each odd request that the contract speaks of makes of the heap."""
        contract, has = self.contract, self.has
        for wanted, request in (
            (contract.free_null and "free" in has, self._free_null),
            (contract.realloc_null and "realloc" in has, self._resize_null),
            ("aligned_alloc" in has, self._little_aligned),
            (contract.invalid_alignment and "aligned_alloc" in has, self._unaligned),
            ("calloc" in has, self._overflowing),
        ):
            if wanted:
                yield from request(state.fork())

    _odd = odd

    def _free_null(self, state: Path) -> Iterator[Path]:
        return self.freed(told(state, Step("free")), number(0))

    def _resize_null(self, state: Path) -> Iterator[Path]:
        for path, size in self._sizes(state):
            step = Step("realloc", (size,), made=next_number(path))
            yield from self._request(path, "realloc", (number(0), size), size, step=step)

    def _little_aligned(self, state: Path) -> Iterator[Path]:
        for path, size in self._sizes(state):
            yield from self._request(path, "aligned_alloc", (number(SMALL), size), size, SMALL)

    def _unaligned(self, state: Path) -> Iterator[Path]:
        size = z3.BitVec("size.unaligned", WORD)
        return self._refused(state, "aligned_alloc", (number(NONE), size), "alignment", MISALIGNED)

    def _overflowing(self, state: Path) -> Iterator[Path]:
        size = z3.BitVec("size.overflowing", WORD)
        if self.engine.reasoning.assume(state, z3.UGE(size, TOO_MANY)):
            yield from self._refused(state, "calloc", (number(MANY), size), "bounds", OUTSIDE)

    def _refused(self, path: Path, verb: str, operands, family: str, what: str) -> Iterator[Path]:
        """A request that must be refused; of errno nothing is asked, there are two answers."""
        told(path, Step(verb, operands, made=next_number(path)))
        for outcome, result in self._called(path, f"allocheck_{verb}", operands):
            concluded(outcome)
            outcome.owe(family, what, equal(result, 0))
            self._owe_untouched(outcome, outcome.scene.live)
            yield from self._after(outcome)
