"""One operation on a window of a heap of any size: nothing outside of it is touched.

The premise is an outline (outline.py); the conclusion is the same walk of the window afterwards,
and that every access on the way lay in the places that the outline opens.  That what holds of every
window holds of the heap is argued in README.md, not proved here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from proofs.engine import Engine
from proofs.host import ERRNO, ERRNO_BYTES, STACK_END, STACK_FROM, Host, inside
from proofs.induction import Induction
from proofs.logic import Truth, plain, some
from proofs.memory import Scribble, Word, Write
from proofs.outline import Case, Grid, Outline, Sketch, apart, runs_of
from proofs.path import Path
from proofs.scenery import Block, Scene, Step
from proofs.sight import term_of
from proofs.sighting import Sighting
from proofs.terms import WORD, constant_of, number, simplify, value_range
from proofs.walks import WalkError

_DEAD, _LIVE, _SEPARATOR = 1000, 3000, 8


@dataclass
class Windows(Induction):
    """All operations on all windows that the walker names, for one subject.

    windows  those of each verb
    cases    how many were looked at, counted while it runs
    """

    windows: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    view: type = Sighting
    cases: int = 0
    grid: Grid = field(init=False)

    def __post_init__(self) -> None:
        self.grid = Grid(*self.walker.told("GRID", ()))
        self.walker = replace(self.walker, walk=self.walker.module.window, fits=None)
        super().__post_init__()
        self.engine.reasoning.apart = _apart

    def run(self) -> None:
        """One operation on each window; a refutation is looked for again in small numbers."""
        begun = self.begin()
        ledger = self.exploration.ledger
        every = self.windows.items()
        for verb, case in ((name, Case(*one)) for name, several in every for one in several):
            self._look_at(begun, verb, case)
            if ledger.refuted:
                found = dict(ledger.refuted)
                ledger.refuted.clear()
                self._look_at(begun, verb, case, small=True)
                ledger.refuted.update({**found, **ledger.refuted})
                return

    def begin(self) -> Path:
        """What initialisation leaves: the settings of the variant."""
        for path in self.exploration.opened():
            self._initial = path.memory
            return path
        raise WalkError("initialisation never succeeds")

    def _look_at(self, begun: Path, verb: str, case: Case, small: bool = False) -> None:
        self.cases += 1
        ledger = self.exploration.ledger
        self.exploration.menu = replace(self.exploration.menu, verbs=(verb,))
        ledger.progress(f"window {self.cases}: {verb} in {case.told()}")
        state = self.outlined(case, begun, small)
        if not ledger.premise(state):
            raise WalkError(f"there is no heap with the window {case.told()}")
        for _ in self.exploration.operations(state):
            pass

    def outlined(self, case: Case, begun: Path, small: bool = False) -> Path:
        """Any memory with that window in it, as a path that has executed nothing."""
        runs, order = runs_of(case, self.grid, small)
        reasoning = self.engine.reasoning
        outline = Outline(
            self.places, self.setting, parts=runs, order=order, reasoning=reasoning,
            size_at=self.walker.told("SIZE_AT", 0), used_at=self.walker.told("USED_AT", None),
            letters=case.blocks,
        )  # fmt: skip
        self.walker.walk(outline)
        fixed = [self.places.field(name) for name in self.walker.told("SETTINGS", ())]
        sketch = outline.sketch(case, fixed)
        inner = runs[0]
        span = simplify(inner.end - inner.start)
        memory = begun.memory.after(Scribble(inner.start, span, _DEAD))
        story, live = _building(sketch)
        for block in live:
            memory = memory.after(Scribble(block.payload, block.size, _LIVE + block.number))
        for address, _, value in sketch.words:
            memory = memory.after(Word(address, value))
        pages = replace(begun.scene.pages, pieces=((inner.start, span),))
        path = Path(memory, Scene(pages, live, story, shape=sketch, built=len(story)))
        path.conditions = tuple(
            fact for fact in (*apart(runs, self.grid), *outline.facts) if fact is not True
        )
        return path


def _building(sketch: Sketch) -> tuple[tuple[Step, ...], tuple[Block, ...]]:
    """A program that may lead there: the runs with used blocks between, then the frees."""
    story: list[Step] = []
    live: list[Block] = []
    freed: dict[int, int] = {}

    def malloc(size) -> int:
        story.append(Step("malloc", (size,), made=len(story)))
        return len(story) - 1

    blocks = iter(sketch.blocks)
    for run in sketch.runs:
        for (at, _, _), letter in zip(run.blocks, run.letters, strict=True):
            block = next(blocks)
            made = malloc(term_of(block.usable))
            if block.used:
                payload, usable = term_of(block.payload), term_of(block.usable)
                live.append(Block(made, payload, usable, held=letter == "H"))
            else:
                freed[at.get_id()] = made
        malloc(number(_SEPARATOR))
    ids = [at.get_id() for at in sketch.order if at is not None]
    in_order = [freed.pop(each) for each in ids if each in freed]
    for made in [*freed.values(), *reversed(in_order)]:
        story.append(Step("free", (), block=made))
    return tuple(story), tuple(live)


def guard_of(host: Host):
    """Who may touch what: the host's rules until a window is looked at, then the window's."""

    def guard(engine: Engine, path: Path, address, length, writes: bool) -> Truth:
        sketch = path.scene.shape
        if sketch is None:
            return host.guard(engine, path, address, length, writes)
        low, high = value_range(address)
        if low >= STACK_FROM and high < STACK_END:
            return True
        allowed = [(number(ERRNO), number(ERRNO_BYTES))]
        allowed += [
            (start, size) for start, size, writable in sketch.open if writable or not writes
        ]
        if not writes:
            for variable in engine.module.globals.values():
                if variable.constant and variable.parts is not None:
                    at = number(engine.address_of(variable.name))
                    allowed.append((at, number(variable.size)))
        truth = some(*(inside(address, length, start, size) for start, size in allowed))
        if plain(truth) is None and constant_of(length) == WORD // 8:
            return _looked_up(engine, path, address, truth)
        return truth

    return guard


def _looked_up(engine: Engine, path: Path, address, truth: Truth) -> Truth:
    """Where the access surely lies in the window, the path remembers it."""
    sketch: Sketch = path.scene.shape
    if any(known.eq(address) for known in sketch.inside):
        return True
    inner = sketch.runs[0]
    within = inside(address, number(WORD // 8), inner.start, simplify(inner.end - inner.start))
    if not engine.reasoning.certain(path, within):
        return truth
    sketch = replace(sketch, inside=(*sketch.inside, address))
    path.scene = replace(path.scene, shape=sketch)
    return True


def _apart(path: Path, write: Write, address, size: int) -> bool:
    sketch = path.scene.shape
    return sketch is not None and sketch.apart(write, address, size)


__all__ = ["Windows", "guard_of"]
