"""A second opinion: the questions that a verdict rests on, asked again of bitwuzla.

An option (`--cross-check`); where the two solvers differ nothing is proved.  It asks nothing that
z3 was not asked first, and it never overrules z3: it makes the verdict unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import z3

GROUP = "cross-check"
MILLISECONDS = 20_000  # for one question; without an answer by then there is no second opinion
_WORDS = {"bvudiv_i": "bvudiv", "bvurem_i": "bvurem", "bvsdiv_i": "bvsdiv", "bvsrem_i": "bvsrem"}
_NO_OVERFLOW = "(bvumul_noovfl "


class NoSecondSolver(Exception):
    """bitwuzla is not installed: one line that says what to do."""


class Disagreement(Exception):
    """z3 says that there is a state, or that there is none, and bitwuzla says the opposite."""


@dataclass
class Second:
    """Counts as it goes: `agreed` with z3, `silent` where bitwuzla could not read or not decide."""

    agreed: int = 0
    silent: int = 0

    def __post_init__(self) -> None:
        try:
            import bitwuzla
        except ImportError:
            raise NoSecondSolver(
                f"--cross-check needs bitwuzla: pip install --group {GROUP}"
            ) from None
        self._bitwuzla = bitwuzla

    def ask(self, conditions: Sequence[z3.BoolRef], holds: bool) -> None:
        """Asks whether the conditions have a state, as z3 says; raises Disagreement."""
        answer = self._answer(conditions)
        if answer is None:
            self.silent += 1
        elif answer == holds:
            self.agreed += 1
        else:
            words = ("a state", "no state") if holds else ("no state", "a state")
            raise Disagreement(
                f"the solvers disagree: z3 found {words[0]}, bitwuzla {words[1]}, in a question of "
                f"{len(conditions)} conditions"
            )

    def told(self) -> str:
        """The count in words, for a report."""
        asked = self.agreed + self.silent
        return f"bitwuzla agrees with z3 on {self.agreed} of {asked} questions asked of both"

    def _answer(self, conditions: Sequence[z3.BoolRef]) -> bool | None:
        bitwuzla, options = self._bitwuzla, self._bitwuzla.Options()
        options.set(bitwuzla.Option.TIME_LIMIT_PER, MILLISECONDS)
        parser = bitwuzla.Parser(bitwuzla.TermManager(), options)
        try:
            parser.parse(standard_text(conditions), True, False)
            result = parser.bitwuzla().check_sat()
        except bitwuzla.BitwuzlaException:
            return None
        known = {bitwuzla.Result.SAT: True, bitwuzla.Result.UNSAT: False}
        return known.get(result)


def standard_text(conditions: Sequence[z3.BoolRef]) -> str:
    """The conditions in SMT-LIB 2, z3's own words for operators put into standard ones."""
    native = z3.Solver()
    native.add(*conditions)
    text = native.to_smt2()
    for own, standard in _WORDS.items():
        text = text.replace(f"({own} ", f"({standard} ")
    while (start := text.find(_NO_OVERFLOW)) >= 0:
        end = _closing(text, start)
        inner = text[start + len(_NO_OVERFLOW) : end]
        text = f"{text[:start]}(not (bvumulo {inner})){text[end + 1 :]}"
    return text


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth == 0:
            return position
    raise ValueError("a bracket is never closed")
