"""Every operation from every valid heap of a small arena: for programs of any length.

The premise is the walker's: all memory that satisfies its walk, every other byte unknown.  The
conclusion is the same walk of the heap after the operation.  Which words a heap has is the walker's
business (walks.py), what an operation owes is that of programs.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from proofs.engine import Engine
from proofs.gaze import Gaze
from proofs.host import ARENA, Host, Pages
from proofs.logic import Truth, some
from proofs.memory import Fill, Memory, Scribble, Word, Write
from proofs.oddities import OddExploration
from proofs.onlooker import Onlooker
from proofs.opaque import applied
from proofs.path import Path, PathAsker
from proofs.scenery import Block, Scene, Step, lasting_writes
from proofs.sight import seen, truth_of
from proofs.terms import WORD, constant_of, number, simplify
from proofs.walks import Sealed, Shape, View, Walker, WalkError, shapes

BYTE = 8
GAP = 16  # bytes between two rows below the break: somebody else's
_DEAD, _LIVE = 1000, 3000  # scribbles; the numbers below are those of a program's own steps
_FIRST_VARIABLE = 2000


@dataclass(frozen=True)
class Room:
    """The memory that a premise is about: bytes of each row below the break, of each mapping.

    full   the host has no more than that; else it has what it has
    moved  others have taken memory since, behind the last row and the last mapping
    """

    rows: tuple[int, ...] = ()
    maps: tuple[int, ...] = ()
    full: bool = False
    moved: bool = False

    @property
    def bytes(self) -> int:
        """All of it, gaps included."""
        return sum(self.rows) + GAP * len(self.rows) + sum(self.maps)

    @property
    def extent(self) -> int:
        """From the lowest byte to the highest, below the break or mapped."""
        return max(sum(self.rows) + GAP * max(len(self.rows) - 1, 0), sum(self.maps))

    def told(self) -> str:
        """In words."""
        parts = [f"{size} bytes below the break" for size in self.rows]
        parts += [f"a mapping of {size} bytes" for size in self.maps]
        told = " and ".join(parts) or "no memory"
        told += " (what lies behind is somebody else's)" if self.moved else ""
        return f"{told} (and no more to be had)" if self.full else told


@dataclass
class Induction:
    """All operations from all valid heaps of some memories, for one subject.

    rooms  the memories whose every valid heap is a premise
    heaps  how many heaps that were, counted while it runs
    """

    exploration: OddExploration
    walker: Walker
    rooms: tuple[Room, ...]
    heaps: int = 0
    view: type[Gaze] = Gaze
    _initial: Memory | None = None

    def __post_init__(self) -> None:
        self.engine: Engine = self.exploration.engine
        self.host: Host = self.exploration.host
        settle = self.exploration.ledger.settle
        self.onlooker = Onlooker(self.walker, self.engine, self._held, settle, self.view)
        self.places, self.setting = self.onlooker.places, self.onlooker.setting
        self._plenty = self.host.limit
        self.exploration.look = self.look
        self.exploration.fits = self.fits if self.walker.fits else None

    def run(self, shares: Sequence[int] = (0,), of: int = 1) -> None:
        """The heap before the first operation, then one operation from each valid heap.

        shares  which of the heaps, by the index of neighbours `of` as many shares

        Stops behind the first that refutes something.
        """
        begun = self.begin()
        every = [
            (room, shape, not index)
            for room in self.rooms
            for index, shape in enumerate(self.shapes(room))
        ]
        for index in shares:
            own = range(index * len(every) // of, (index + 1) * len(every) // of)
            for heap in own:
                told = f"heap {heap + 1} of {len(every)}"
                if not self.one(*every[heap], begun, told):
                    return

    def one(self, room: Room, shape: Shape, first: bool, begun: Path, told: str) -> bool:
        """Every operation from one heap, the `first` of its room or not; False where refuted."""
        ledger = self.exploration.ledger
        self.heaps += 1
        self.limit_to(room)
        ledger.progress(f"{told} ({room.told()}): {shape.picture()}")
        state = self.state(shape, begun)
        if room.moved:
            self._crowd(self.exploration.moved(state, GAP))
        ledger.premise(state)
        for _ in self.exploration.operations(state):
            pass
        for _ in self.exploration.odd(state) if first else ():
            pass
        return not ledger.refuted

    def _crowd(self, state: Path) -> None:
        """Has the next mapping lie elsewhere, as the next row does."""
        pages = state.scene.pages
        map_top = simplify(pages.map_top + self.host.page)
        state.scene = replace(state.scene, pages=replace(pages, map_top=map_top))

    def limit_to(self, room: Room) -> None:
        """Has the host grant what it has, or no more than the room."""
        self.host.limit = room.extent if room.full else self._plenty

    def begin(self) -> Path:
        """The base case: what initialisation leaves satisfies the walk."""
        begun: Path | None = None
        for path in self.exploration.opened():
            self._initial = path.memory
            begun = begun or path.fork()
            for side in self.look(path):
                self.exploration.ledger.settle(side)
        if begun is None:
            raise WalkError("initialisation never succeeds")
        self._initial = begun.memory
        return begun

    # ---- the premise ----

    def shapes(self, room: Room) -> Iterator[Shape]:
        """Every valid heap in the room; an arena is one row, and has nothing mapped."""
        base = self.host.base
        if self.exploration.contract.arena:
            if len(room.rows) > 1 or room.maps:
                return iter(())
            base, room = ARENA, replace(room, rows=room.rows or (0,))
        rows, maps = _laid(room.rows, base, GAP), _laid(room.maps, self.host.maps)
        return shapes(self.walker, self.places, self.setting, rows, maps)

    def _held(self, address: int, size: int) -> int | None:
        """What initialisation left there."""
        asker = PathAsker(self.engine.reasoning, Path(self._initial))
        return constant_of(self._initial.load(number(address), size, asker))

    def state(self, shape: Shape, begun: Path, dead: int = _DEAD) -> Path:
        """Any memory of that shape, as a path that has executed nothing.

        dead: the number of the first of the scribbles that stand for bytes that are nobody's
        """
        memory = begun.memory
        story, live = _building(shape)
        for index, (start, size) in enumerate((*shape.rows, *shape.maps)):
            memory = memory.after(Scribble(number(start), number(size), dead + index))
        for block in live:
            memory = memory.after(Scribble(block.payload, block.size, _LIVE + block.number))
        for index, (start, size) in enumerate(shape.unknown):
            anything = Scribble(number(start), number(size), _FIRST_VARIABLE + index)
            memory = memory.after(anything)
        for (address, size), value in sorted(shape.words.items(), key=lambda word: word[0]):
            memory = memory.after(_written(address, size, value))
        pages = begun.scene.pages
        if not self.exploration.contract.arena:
            pages = self._granted(shape, pages)
        return Path(memory, Scene(pages, live, story, shape=shape, built=len(story)))

    def _granted(self, shape: Shape, pages: Pages) -> Pages:
        """The host's pages, of which those of the heap were granted before."""
        return replace(
            pages,
            top=number(sum(shape.rows[-1]) if shape.rows else self.host.base),
            map_top=number(sum(shape.maps[-1]) if shape.maps else self.host.maps),
            pieces=tuple((number(start), number(size)) for start, size in shape.rows),
            maps=tuple((number(start), number(size)) for start, size in shape.maps),
        )

    # ---- the conclusion ----

    def look(self, path: Path) -> Iterator[Path]:
        """Every heap that the path may have, with all that its walk owes."""
        for walked, gaze in self.onlooker.seen(path):
            self._demand_named(walked, gaze.named)
            yield walked

    def _demand_named(self, path: Path, named: list[tuple]) -> None:
        """A variable that changes and is not walked would be missing from the premise."""
        areas = [(start, size) for start, size in named if isinstance(start, int)]
        for write in lasting_writes(path):
            at, length = constant_of(write.address), constant_of(write.length)
            owner = None if at is None or length is None else self._variable_at(at)
            if owner is None or any(
                start <= at and at + length <= start + size for start, size in areas
            ):
                continue
            now = constant_of(self.engine.load(path, number(at), length))
            if now is None or now != self._held(at, length):
                offset = at - self.engine.address_of(owner)
                walk = self.walker.path.name
                raise WalkError(f"{owner} changes at offset {offset}: {walk} does not look there")

    def _variable_at(self, address: int) -> str | None:
        for variable in self.engine.module.globals.values():
            start = self.engine.address_of(variable.name)
            if start <= address < start + variable.size:
                return variable.name
        return None

    def fits(self, path: Path, size, alignment: int) -> Truth:
        """Whether the heap that the operation began with serves the request by itself."""
        shape: Shape = path.scene.shape
        view = View(self.places, self.setting, shape.rows, shape.maps, list(shape.blocks))
        truths = self.walker.fits(view, seen(size, _no_decision), alignment)
        return some(*(truth_of(truth) for truth in truths))


def _written(address: int, size: int, value: int | Sealed) -> Write:
    if isinstance(value, Sealed):
        arguments = [number(argument) for argument in value.arguments]
        return Word(number(address), applied(value.name, arguments))
    if size > WORD // BYTE:  # zeros, of which any part may be read
        return Fill(number(address), number(size), number(0, BYTE))
    return Word(number(address), number(value, size * BYTE))


def _no_decision(_truth) -> bool:
    raise WalkError("fits() decides something that depends on the size: yield it instead")


def _laid(sizes, at: int, gap: int = 0) -> tuple[tuple[int, int], ...]:
    laid = []
    for size in sizes:
        laid.append((at, size))
        at += size + gap
    return tuple(laid)


def _building(shape: Shape) -> tuple[tuple[Step, ...], tuple[Block, ...]]:
    """A program that may lead there: all blocks from the lowest up, then the free ones freed."""
    ordered = sorted(shape.blocks, key=lambda block: block.payload)
    numbers = {id(block): index for index, block in enumerate(ordered)}
    story = [Step("malloc", (number(block.usable),), made=numbers[id(block)]) for block in ordered]
    freed = [block for block in shape.blocks if not block.used]
    story += [Step("free", (), block=numbers[id(block)]) for block in reversed(freed)]
    live = tuple(
        Block(numbers[id(block)], number(block.payload), number(block.usable))
        for block in ordered
        if block.used
    )
    return tuple(story), live
