"""What a window takes for granted: a search finds what it promises, an index keeps what it has.

SEARCHES and INDEX of a walker name the functions; that they keep what is promised for them here is
the business of `inductive.*`, which executes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.engine import Engine, Hook, Outcome
from proofs.logic import Truth
from proofs.outline import Sketch
from proofs.path import Path
from proofs.scenery import noted
from proofs.sight import seen, term_of, truth_of
from proofs.sighting import ENTERS, LEAVES
from proofs.terms import simplify
from proofs.walks import View, Walker, WalkError


def promises_of(walker: Walker) -> dict[str, Hook]:
    """A hook for each function that is not executed."""
    searches = walker.told("SEARCHES", {}).items()
    return {name: _promised(promise) for name, promise in searches} | _index_of(walker)


def told_of(walker: Walker) -> tuple[str, ...]:
    """The same in words, for a report's assumptions."""
    found = [f"{name} does what is promised of it" for name in walker.told("SEARCHES", {})]
    kept = ", ".join(walker.told("INDEX", {}))
    return (*found, *([f"{kept}: the index has what enters it until it leaves"] if kept else []))


def _index_of(walker: Walker) -> dict[str, Hook]:
    index = walker.told("INDEX", {})
    if not index:
        return {}
    size_at, grain = walker.told("SIZE_AT", 0), walker.told("GRID", ())[1]

    def changes(event: str, which: int) -> Hook:
        def change(engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
            block = arguments[which]
            size = engine.load(path, simplify(block + size_at), 8)
            noted(path, event, (block, simplify(size & -grain)))
            return [(path, arguments[0])]

        return change

    return {
        name: changes(ENTERS if enters else LEAVES, which)
        for name, (enters, which) in index.items()
    }


@dataclass
class Ground(View):
    """What a promise is handed: the blocks of the window itself, their letters, the order."""

    letters: str = ""
    order: tuple = ()

    def visited(self):
        """Where the blocks begin that the order names."""
        return [None if start is None else seen(start, _open) for start in self.order]


def _promised(promise) -> Hook:
    def search(engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        sketch: Sketch = path.scene.shape
        blocks = list(sketch.blocks[: len(sketch.runs[0].blocks)])
        letters, order = sketch.case.blocks, sketch.order
        heap = Ground(None, None, blocks=blocks, letters=letters, order=order)
        outcomes = []
        for answer, truth in promise(heap, *(seen(each, _open) for each in arguments)):
            side = path.fork()
            if engine.reasoning.assume(side, truth_of(truth)):
                outcomes.append((side, term_of(answer)))
        return outcomes

    return search


def _open(truth: Truth) -> bool:
    raise WalkError(f"a promise decides what is open: {truth}")
