"""The operating system as an allocator meets it: pages by sbrk and mmap, errno.

Flat addresses; every request for pages may be refused.  It makes no claim of its own, but owes
that pages are asked for and given back as the system allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import z3

from proofs.c_library import HOOKS, STREAMS
from proofs.engine import SYMBOLS, Engine, Outcome
from proofs.ir import UnsupportedIr
from proofs.literals import Literal
from proofs.logic import Truth, at_most, equal, every, less, some
from proofs.memory import Fill, Memory, Scribble, Word
from proofs.path import Path, Reasoning
from proofs.target import TARGET
from proofs.terms import WORD, constant_of, number, simplify, value_range

ERRNO, ERRNO_BYTES = 0x3000, 4
ARENA = 0x8_0000
STACK_FROM, STACK_END = TARGET.stack
PAGE = 4096
POOL = 256  # bytes of a variable with initial values that may hold a heap as well
ENOMEM, EINVAL = 12, 22
FAILED = 2**WORD - 1
LOWERED = "the break is lowered below what was granted"
UNMAPPED = "pages are unmapped that were not mapped"

Terms = Sequence[z3.BitVecRef]
Piece = tuple[z3.BitVecRef, z3.BitVecRef]  # (start, bytes)


@dataclass(frozen=True)
class Requests:
    """The requests for pages of the operation under way.

    refused  which of them was refused first, counted from 1; 0 for none
    refusals how many of them were refused
    answers  to each of them, in order: granted or not
    """

    granted: int = 0
    refused: int = 0
    refusals: int = 0
    answers: tuple[bool, ...] = ()


NO_REQUESTS = Requests()


@dataclass(frozen=True)
class Pages:
    """What the host has granted on a path.

    pieces  (start, bytes) of the memory below the break, from the lowest up, without what others
            took; maps: the same of mapped regions; room: memory that was there from the start
    top     the break; lowered: it has been lower once
    """

    top: z3.BitVecRef
    map_top: z3.BitVecRef
    pieces: tuple[Piece, ...] = ()
    maps: tuple[Piece, ...] = ()
    room: tuple[Piece, ...] = ()
    lowered: bool = False
    requests: Requests = NO_REQUESTS
    joined: bool = False

    @property
    def all(self) -> tuple[Piece, ...]:
        """Every piece a block may lie in; where `joined`, mappings that touch are one."""
        maps = _joined(self.maps) if self.joined else self.maps
        return (*self.pieces, *maps, *self.room)


def _joined(maps: Sequence[Piece]) -> list[Piece]:
    found: list[Piece] = []
    for start, size in maps:
        if found and equal(simplify(found[-1][0] + found[-1][1]), start) is True:
            start, size = found[-1][0], simplify(found.pop()[1] + size)
        found.append((start, size))
    return found


def inside(address, length, start, size) -> Truth:
    """[address, address + length) lies in [start, start + size); right even if sums wrap."""
    into = simplify(address - start)
    return every(
        at_most(start, address), at_most(into, size), at_most(length, simplify(size - into))
    )


@dataclass
class Host:
    """One host: at most `limit` bytes below the break, and as many mapped, in pages of `page`.

    The break starts at `base`, mapped regions follow each other from `maps`.  Where `joined`, one
    munmap may take pages of several that touch, and a block lie in them; else it is a mistake.
    """

    limit: int
    base: int = 0x100_0000
    page: int = PAGE
    joined: bool = False
    maps: int = field(init=False)

    def __post_init__(self) -> None:
        self.maps = self.base + -(-2 * self.limit // PAGE) * PAGE
        if self.maps + self.limit > SYMBOLS:
            raise ValueError(f"{self.limit} bytes reach into what lies above")

    # ---- the world before the first call ----

    def started(self, engine: Engine, reasoning: Reasoning, scene, arena: int = 0) -> Path:
        """A path on which the program has been loaded, and nothing been called.

        `scene` is made of the pages by a function; the `arena` of so many bytes holds anything.
        """
        memory = engine.loaded(Memory())
        memory = memory.after(Word(number(ERRNO), reasoning.fresh("errno", 8 * ERRNO_BYTES)))
        room = []
        if arena:
            memory = memory.after(Scribble(number(ARENA), number(arena), 0))
            room.append((number(ARENA), number(arena)))
        for variable in engine.module.globals.values():
            zero = variable.parts == ()
            if not variable.constant and (zero or (variable.parts and variable.size >= POOL)):
                room.append((number(engine.address_of(variable.name)), number(variable.size)))
        pages = Pages(number(self.base), number(self.maps), room=tuple(room))
        return Path(memory, scene(replace(pages, joined=self.joined)))

    def hooks(self) -> dict[str, Callable[[Engine, Path, Terms], list[Outcome]]]:
        """The host's functions by the names they are called."""
        return {
            **HOOKS,
            "__errno_location": _errno_cell,
            "sbrk": self.sbrk,
            "mmap": self.mmap,
            "mmap64": self.mmap,
            "munmap": self.munmap,
            "mremap": self.mremap,
            "madvise": _zero,
            "getpagesize": lambda _engine, path, _terms: [(path, number(self.page, 32))],
            "sysconf": lambda _engine, path, _terms: [(path, number(self.page))],
            "write": lambda _engine, path, terms: [(path, terms[2])],
        }

    # ---- permission ----

    def guard(self, engine: Engine, path: Path, address, length, writes: bool) -> Truth:
        """The condition under which the program may touch [address, address + length)."""
        if address.__class__ is Literal and length.__class__ is Literal:
            plainly = _plainly_inside(engine, path, address.value, length.value, writes)
            if plainly is not None:
                return plainly
        low, high = value_range(address)
        if low >= STACK_FROM and high < STACK_END:
            return True
        areas = [(number(ERRNO), number(ERRNO_BYTES)), *path.scene.pages.all]
        for variable in engine.module.globals.values():
            if not (writes and variable.constant) and variable.parts is not None:
                areas.append((number(engine.address_of(variable.name)), number(variable.size)))
        return some(
            *(
                inside(address, length, start, size)
                for start, size in areas
                if low < value_range(start)[1] + value_range(size)[1]
                and high >= value_range(start)[0]
            )
        )

    # ---- the break ----

    def sbrk(self, engine: Engine, path: Path, terms: Terms) -> list[Outcome]:
        """sbrk(increment): the old break, or -1."""
        increment = terms[0] if terms[0].size() == WORD else z3.SignExt(32, terms[0])
        outcomes: list[Outcome] = []
        for still, side in engine.reasoning.split(path, equal(increment, 0)):
            if still:
                outcomes.append((side, side.scene.pages.top))
                continue
            for down, branch in engine.reasoning.split(side, at_most(2 ** (WORD - 1), increment)):
                move = self._lower if down else self._raise
                outcomes += move(engine, branch, increment)
        return outcomes

    def _raise(self, engine: Engine, path: Path, size) -> list[Outcome]:
        outcomes: list[Outcome] = [_refused(path.fork())]
        pages = path.scene.pages
        room = simplify(number(self.base + self.limit) - pages.top)
        fits = every(at_most(pages.top, self.base + self.limit), at_most(size, room))
        if not engine.reasoning.assume(path, fits):
            return outcomes
        top = simplify(pages.top + size)
        start, length = pages.pieces[-1] if pages.pieces else (pages.top, number(0))
        if pages.pieces and equal(simplify(start + length), pages.top) is True:
            pieces = (*pages.pieces[:-1], (start, simplify(length + size)))
        else:
            pieces = (*pages.pieces, (pages.top, size))
        if pages.lowered:  # what was given back and comes again reads zero again
            path.memory = path.memory.after(Fill(pages.top, size, number(0, 8)))
        _granted(path, replace(pages, top=top, pieces=pieces))
        return [*outcomes, (path, pages.top)]

    def _lower(self, engine: Engine, path: Path, increment) -> list[Outcome]:
        pages, size = path.scene.pages, simplify(number(0) - increment)
        start, length = pages.pieces[-1] if pages.pieces else (pages.top, number(0))
        ours = every(at_most(size, length), equal(simplify(start + length), pages.top))
        path.owe("bounds", LOWERED, ours)
        if not engine.reasoning.assume(path, ours):
            engine.end(path, "bounds", LOWERED)
            return []
        pieces = (*pages.pieces[:-1], (start, simplify(length - size)))
        top = simplify(pages.top - size)
        path.scene = replace(path.scene, pages=replace(pages, top=top, pieces=pieces, lowered=True))
        return [(path, pages.top)]

    # ---- mapped regions ----

    def mmap(self, engine: Engine, path: Path, terms: Terms) -> list[Outcome]:
        """mmap of an anonymous region anywhere: page-aligned and zero, or -1."""
        size = terms[1]
        outcomes: list[Outcome] = []
        for none, side in engine.reasoning.split(path, equal(size, 0)):
            if none:
                _says(side, EINVAL)
                outcomes.append((side, number(FAILED)))
            else:
                outcomes += self._map(engine, side, size)
        return outcomes

    def _map(self, engine: Engine, path: Path, size) -> list[Outcome]:
        outcomes: list[Outcome] = [_refused(path.fork())]
        pages = path.scene.pages
        room = simplify(number(self.maps + self.limit) - pages.map_top)
        if not engine.reasoning.assume(path, at_most(size, room)):
            return outcomes
        whole = engine.reasoning.named(path, self._pages_up(size), "mapped")
        maps = (*pages.maps, (pages.map_top, whole))
        _granted(path, replace(pages, maps=maps, map_top=simplify(pages.map_top + whole)))
        return [*outcomes, (path, pages.map_top)]

    def munmap(self, engine: Engine, path: Path, terms: Terms) -> list[Outcome]:
        """munmap of a whole region or of pages at its end; anything else is owed not to be."""
        address, size = terms[0], self._pages_up(terms[1])
        outcomes: list[Outcome] = []
        rest: Path | None = path
        for first, last in self._runs(path.scene.pages.maps):
            (start, length), top = path.scene.pages.maps[first], path.scene.pages.maps[last]
            into = simplify(address - start)
            end = equal(simplify(address + size), simplify(top[0] + top[1]))
            at_end = every(at_most(start, address), less(into, length), end)
            sides = dict(engine.reasoning.split(rest, at_end))
            if True in sides:
                outcomes += self._cut(engine, sides[True], first, last, into)
            rest = sides.get(False)
            if rest is None:
                return outcomes
        engine.end(rest, "bounds", UNMAPPED)
        return outcomes

    def _runs(self, maps: Sequence[Piece]) -> Iterator[tuple[int, int]]:
        """(first, last) of the regions that one call may unmap pages of."""
        for first in range(len(maps)):
            yield first, first
            for last in range(first + 1, len(maps) if self.joined else 0):
                if (
                    equal(simplify(maps[last - 1][0] + maps[last - 1][1]), maps[last][0])
                    is not True
                ):
                    break
                yield first, last

    def _cut(self, engine: Engine, path: Path, first: int, last: int, kept) -> list[Outcome]:
        """Region `first` keeps its first `kept` bytes, those behind it up to `last` nothing."""
        outcomes: list[Outcome] = []
        for whole, side in engine.reasoning.split(path, equal(kept, 0)):
            pages = side.scene.pages
            left = () if whole else ((pages.maps[first][0], kept),)
            maps = (*pages.maps[:first], *left, *pages.maps[last + 1 :])
            side.scene = replace(side.scene, pages=replace(pages, maps=maps))
            outcomes.append((side, number(0, 32)))
        return outcomes

    def _pages_up(self, size):
        known = constant_of(size)
        if known is not None:
            return number(-(-known // self.page) * self.page)
        return simplify((size + (self.page - 1)) & number(2**WORD - self.page))

    def mremap(self, engine: Engine, path: Path, terms: Terms) -> list[Outcome]:
        """mremap in place, of the region mapped last; anything else is refused, as it may be."""
        address, size, new = terms[0], terms[1], terms[2]
        outcomes: list[Outcome] = [_refused(path.fork())]
        pages = path.scene.pages
        if not pages.maps:
            return outcomes
        start, length = pages.maps[-1]
        end, trimmed = simplify(start + length), _is_trimmed(pages)
        top = end if trimmed else pages.map_top
        more = simplify(self._pages_up(new) - length)
        last = every(
            equal(address, start),
            equal(self._pages_up(size), length),
            less(size, new),
            equal(end, top),
            at_most(more, simplify(number(self.maps + self.limit) - top)),
        )
        if engine.reasoning.assume(path, last):
            maps, reached = (
                (*pages.maps[:-1], (start, simplify(length + more))),
                simplify(top + more),
            )
            if trimmed:  # what was given back and comes again reads zero again
                path.memory = path.memory.after(Fill(end, more, number(0, 8)))
                reached = reached if at_most(pages.map_top, reached) is True else pages.map_top
            _granted(path, replace(pages, maps=maps, map_top=reached))
            outcomes.append((path, address))
        return outcomes


def _is_trimmed(pages: Pages) -> bool:
    """Whether the region mapped last has plainly given back pages at its end."""
    end = simplify(pages.maps[-1][0] + pages.maps[-1][1])
    return None not in (constant_of(end), constant_of(pages.map_top)) and less(end, pages.map_top)


def _plainly_inside(engine: Engine, path: Path, at: int, length: int, writes: bool) -> bool | None:
    """The same for a constant access; None where pages have ends that are not constant."""
    if at >= STACK_FROM and at < STACK_END:
        return True
    if at >= SYMBOLS:
        variable, into = engine.variable_at(at)
        if variable is not None:
            allowed = not (writes and variable.constant)
            if variable.parts is None and variable.name not in STREAMS:
                raise UnsupportedIr(
                    f"unsupported variable: {variable.name}, whose value is not known"
                )
            if allowed and into + length <= variable.size:
                return True
    if at >= ERRNO and at + length <= ERRNO + ERRNO_BYTES:
        return True
    pages, answer = path.scene.pages, False
    for start, size in pages.all:
        if start.__class__ is not Literal or size.__class__ is not Literal:
            answer = None
        elif start.value <= at and at + length <= start.value + size.value:
            return True
    return answer


def _refused(path: Path) -> Outcome:
    pages = path.scene.pages
    requests = pages.requests
    first = requests.refused or requests.granted + 1
    answers = (*requests.answers, False)
    refusals = requests.refusals + 1
    requests = replace(requests, refused=first, refusals=refusals, answers=answers)
    path.scene = replace(path.scene, pages=replace(pages, requests=requests))
    _says(path, ENOMEM)
    return path, number(FAILED)


def _granted(path: Path, pages: Pages) -> None:
    before = pages.requests
    requests = replace(before, granted=before.granted + 1, answers=(*before.answers, True))
    path.scene = replace(path.scene, pages=replace(pages, requests=requests))


def _says(path: Path, error: int) -> None:
    path.memory = path.memory.after(Word(number(ERRNO), number(error, 8 * ERRNO_BYTES)))


def _errno_cell(_engine: Engine, path: Path, _terms: Terms) -> list[Outcome]:
    return [(path, number(ERRNO))]


def _zero(_engine: Engine, path: Path, _terms: Terms) -> list[Outcome]:
    return [(path, number(0, 32))]


def errno_of(engine: Engine, path: Path) -> z3.BitVecRef:
    """The value of errno."""
    return engine.load(path, number(ERRNO), ERRNO_BYTES)
