"""Whether an edit can make a difference at its own place: the original, with a probe there, is run.

A probe is a trap that is reached exactly where original and edited code differ.  Where no call from
a valid heap comes to it, no program can tell the two apart; where one does, they may still agree,
which is for equivalence.py to say.  It makes no probes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import z3

from allocator.subject import Subject
from proofs.calls import Call
from proofs.engine import Engine, Outcome
from proofs.host import ERRNO, ERRNO_BYTES
from proofs.induction import BYTE, Induction
from proofs.logic import Truth, equal, every
from proofs.memory import Word
from proofs.path import Path, PathAsker
from proofs.scenery import Scene, Step, noted, told
from proofs.solver import Unknown
from proofs.terms import number, simplify
from proofs.walks import Shape

TRIPPED = "allocheck_tripped"  # what a probe calls; it does not return
BEGUN, DONE = "allocheck_begun", "allocheck_done"  # between them lies what the edit leaves out


class Probed(NamedTuple):
    """An original with a probe where an edit is, twice.

    differs  the trap is reached where the edit makes a difference
    comes    wherever what was edited is evaluated: no claim may rest on a place that none comes to
    """

    differs: Subject
    comes: Subject


def _tripped(engine: Engine, path: Path, _terms: Sequence) -> list[Outcome]:
    engine.end(path, "infection", "the edit makes a difference")
    return []


def _begun(_engine: Engine, path: Path, _terms: Sequence) -> list[Outcome]:
    noted(path, BEGUN, (path.memory, len(path.writes), path.scene.pages))
    return [(path, None)]


def _done(engine: Engine, path: Path, _terms: Sequence) -> list[Outcome]:
    """Owes that all is as it was: each word holds what it held, and no page was asked for."""
    *outer, (_, (memory, count, pages)) = path.scene.calls
    same: list[Truth] = [pages is path.scene.pages]
    asker = PathAsker(engine.reasoning, path)
    for write in path.writes[count:]:
        if not isinstance(write, Word):
            same.append(False)  # of many bytes: none is likely to stay
            continue
        size = write.value.size() // BYTE
        held = memory.load(write.address, size, asker)
        same.append(equal(held, engine.load(path, write.address, size)))
    path.scene = replace(path.scene, calls=tuple(outer))
    path.owe("infection", "what is left out changes something", every(*same))
    return [(path, None)]


HOOKS = {TRIPPED: _tripped, BEGUN: _begun, DONE: _done}


@dataclass
class Probe:
    """One of the two, on a solver and in the rooms of its original."""

    side: Induction
    begun: Path

    def trips_at_first(self) -> bool:
        """Whether initialisation comes to the trap."""
        engine, host = self.side.engine, self.side.host
        if "allocheck_init" not in engine.module.functions:
            return False
        path = host.started(engine, engine.reasoning, Scene)
        return self._trips(path, "allocheck_init", (number(0), number(0)))

    def trips(self, shape: Shape, call: Call, dead: int) -> bool:
        """Whether the call comes to the trap in some heap of that shape.

        So does undefined behaviour that only the evaluation of the edited text brings.
        """
        start = begin(self.side, shape, self.begun, dead, call)
        return self._trips(start, f"allocheck_{call.verb}", call.arguments, call.misuse)

    def _trips(self, start: Path, name: str, arguments: Iterable, misuse: bool = False) -> bool:
        engine = self.side.engine
        outcomes = engine.call(start, name, list(arguments))
        ended, engine.ended[:] = list(engine.ended), []
        for path in (*ended, *(path for path, _ in outcomes)):
            due = [one.condition for one in path.owed if not (misuse and one.family == "abort")]
            if path.scene.called(BEGUN):
                due.append(False)  # what is left out does not return
            if due and engine.reasoning.counterexample(path, every(*due)) is not None:
                return True
        return False


def begin(side: Induction, shape: Shape, begun: Path, dead: int, call: Call, more=()) -> Path:
    """Any heap of that shape, before the call; `more` conditions hold beside the call's own.

    dead  the number of the first of the scribbles that stand for bytes that are nobody's
    """
    state = side.state(shape, begun, dead)
    state.conditions += (*call.premise, *more)
    state.memory = state.memory.after(Word(number(ERRNO), z3.BitVec("errno", 8 * ERRNO_BYTES)))
    if call.gap:
        pages = replace(state.scene.pages, top=simplify(state.scene.pages.top + call.gap))
        state.scene = replace(state.scene, pages=pages)
    return told(state, Step(call.verb))


class Screen:
    """Says of each call whether the edit makes a difference in it, and whether any comes to it.

    found  how many calls it makes one in
    """

    def __init__(self, differs: Induction, comes: Induction) -> None:
        self.sides = (differs, comes)
        self.found = 0
        self._came = False

    def begin(self, verbs: Collection[str]) -> None:
        """What initialisation does; `verbs` are the operations whose code is edited.

        Raises Unknown where the edit makes a difference in it, or in the counts of calloc, not all
        of which are looked at.
        """
        self._differs, self._comes = (Probe(side, side.begin()) for side in self.sides)
        if "calloc" in verbs:
            raise Unknown("the edit is in calloc's own code, and not all counts are looked at")
        if self._differs.trips_at_first():
            raise Unknown("the edit makes a difference while the heap starts")
        self._came = not verbs or self._comes.trips_at_first()

    def infected(self, shape: Shape, call: Call, dead: int) -> bool:
        """Whether it makes a difference in the call; raises Unknown where that is misuse."""
        self._came = self._came or self._comes.trips(shape, call, dead)
        if not self._differs.trips(shape, call, dead):
            return False
        if call.misuse:
            raise Unknown(f"the edit makes a difference in a {call.verb} that must end in abort")
        self.found += 1
        return True

    def end(self) -> None:
        """Raises Unknown where no call came to the place: then nothing was said of it."""
        if not self._came:
            raise Unknown("no call comes to the place of the edit in these heaps")
