"""Looks at the heap behind each operation of an exploration, through its subject's walker.

What operations owe by themselves, and which heaps there are before them, is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from allocator.subject import Subject
from models.rules import RULES, WHITE_BOX
from proofs.claims import Claim
from proofs.engine import Engine
from proofs.gaze import Gaze, looked
from proofs.host import ARENA, Host
from proofs.logic import at_most, equal, every, plain, some
from proofs.path import Path
from proofs.scenery import Scene
from proofs.sight import term_of
from proofs.terms import constant_of, number
from proofs.walks import Places, SeenBlock, Walker, WalkError, places_of

NO_HOLDER = "a live block has no used block that holds it"
NOBODYS = "a used block is nobody's"
RECLAIM = ("reclaim", "there is no used block that nobody holds", (NOBODYS,))
Held = Callable[[int, int], int | None]


def claims_of(study: str, subject: Subject, walker: Walker) -> Iterator[Claim]:
    """What the walk itself says, rule by rule, but for those it says are not of all."""
    text = walker.path.read_text(encoding="utf-8")
    left_out = walker.told("NOT_OF", {}).get(subject.name, ())
    for name, rule in RULES.items():
        if rule.layer == WHITE_BOX and f'"{name}"' in text and name not in left_out:
            told = f"no heap comes about of which it is said: {rule.violation}"
            yield Claim(f"{study}.{name}", name, told, ())


@dataclass(frozen=True)
class Onlooker:
    """What a walk of a path's heap needs is owed.

    held    (address, bytes) -> what initialisation left there, None for what is not plain
    settle  checks what the path owes; False when no state is left
    """

    walker: Walker
    engine: Engine
    held: Held
    settle: Callable[[Path], bool]
    view: type[Gaze] = Gaze

    @cached_property
    def places(self) -> Places:
        """Where the words lie that the walker has names for."""
        return places_of(self.walker, self.engine.module, self.engine.address_of)

    def setting(self, address: int, size: int) -> int:
        """What initialisation left in a variable, which must be plain."""
        value = self.held(address, size)
        if value is None:
            raise WalkError(f"what initialisation left at {address:#x} is not plain")
        return value

    def look(self, path: Path) -> Iterator[Path]:
        """Every heap that the path may have, with all that its walk owes."""
        for walked, _ in self.seen(path):
            yield walked

    def seen(self, path: Path) -> Iterator[tuple[Path, Gaze]]:
        """The same, each with what was looked at."""
        for walked, gaze in looked(
            self.walker, self.places, self.setting, self.engine, self.settle, path, self.view
        ):
            _owe_holders(walked, gaze.blocks)
            yield walked, gaze


def _owe_holders(path: Path, blocks: list[SeenBlock]) -> None:
    """The used blocks are exactly the live ones, and large enough for them."""
    used = [(term_of(one.payload), term_of(one.usable)) for one in blocks if one.used]
    for live in path.scene.live:
        held = [
            every(equal(live.payload, payload), at_most(live.size, usable))
            for payload, usable in used
        ]
        path.owe("usable", NO_HOLDER, some(*held))
    gaps = max(len(path.scene.pages.pieces) - 1, 0)
    path.owe("reclaim", NOBODYS, len(used) <= len(path.scene.live) + gaps)


def left_by_init(engine: Engine, host: Host, arena: int) -> Held:
    """What the variables hold, whatever becomes of the requests that initialisation makes."""
    path = host.started(engine, engine.reasoning, Scene, arena)
    paths = [path]
    if "allocheck_init" in engine.module.functions:
        arguments = [number(ARENA if arena else 0), number(arena)]
        begun = engine.call(path, "allocheck_init", arguments)
        engine.ended.clear()
        paths = [side for side, result in begun if plain(equal(result, 0)) is not False]

    def held(address: int, size: int) -> int | None:
        found = {constant_of(engine.load(each, number(address), size)) for each in paths}
        return found.pop() if len(found) == 1 else None

    return held
