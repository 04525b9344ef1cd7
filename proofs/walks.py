"""A heap walk: Python that says where the words of a valid heap lie and what they may hold.

The same function is the premise of an induction (every heap that satisfies it: `Choices`), its
conclusion (`Gaze`), and a check of a native heap (`Glance`).  How to write one: proofs/README.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from allocator.subject import Subject
from proofs.ir import Module
from proofs.sight import Fact, Number, truth_of
from proofs.target import NATIVE

SYMBOL = "proofs_walk_offsets"
STRAY = "a word of the heap holds what it cannot hold"


class WalkError(Exception):
    """A walker that cannot be used: one line that says why."""


@dataclass(frozen=True)
class Between:
    """The numbers low, low + step, ... up to high; `also` is added to each: flag bits."""

    low: Number
    high: Number
    step: int = 1
    also: tuple[int, ...] = (0,)

    def __iter__(self) -> Iterator[int]:
        if not isinstance(self.low, int) or not isinstance(self.high, int):
            raise TypeError("a range between symbolic ends has no members to count")
        for size in range(self.low, self.high + 1, self.step):
            for flag in self.also:
                yield size + flag


Among = Between | Sequence[Number]


@dataclass(frozen=True)
class SeenBlock:
    """A block that a walk met: its payload's address, its usable bytes, whether it is used."""

    payload: Number
    usable: Number
    used: bool


@dataclass(frozen=True)
class Walker:
    """A walker's file, loaded.

    walk   walk(heap): meets the whole heap, word by word and block by block, and then what other
           sources of the subject keep
    fits   fits(heap, size, alignment): truths, one of which holds exactly if a request is served
           from the heap as walked, without new pages; None where nothing is declared
    """

    path: Path
    module: ModuleType
    walk: Callable[[Any], None]
    fits: Callable[..., Iterable[Any]] | None

    def told(self, name: str, otherwise: Any) -> Any:
        """A constant of the file, or what stands in for it."""
        return getattr(self.module, name, otherwise)


def load(path: Path, sources: Sequence[Path] = ()) -> Walker:
    """The walker in the file; raises WalkError.

    A source NAME.c with NAME_walk.py beside it is walked too: what a page source keeps.  First, if
    that says ROWS = True: there the rows are what the page source says, and not the break's.
    """
    walker = _loaded(path)
    files = [source.with_name(f"{source.stem}_walk.py") for source in sources]
    besides = [_loaded(beside) for beside in files if beside.is_file()]
    first = [beside.walk for beside in besides if beside.told("ROWS", False)]
    last = [beside.walk for beside in besides if not beside.told("ROWS", False)]
    walks = [*first, walker.walk, *last]

    def walk(heap: View) -> None:
        for one in walks:
            one(heap)

    return replace(walker, walk=walk)


def _loaded(path: Path) -> Walker:
    spec = importlib.util.spec_from_file_location(f"walk_of_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise WalkError(f"{path.name}: a walker is a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise WalkError(f"{path.name}: {type(error).__name__}: {error}") from None
    if not callable(getattr(module, "walk", None)):
        raise WalkError(f"{path.name}: it has no function walk(heap)")
    return Walker(path, module, module.walk, getattr(module, "fits", None))


def walker_of(subject: Subject) -> Walker | None:
    """The subject's walker, loaded; None where it has none; raises WalkError."""
    return load(subject.walker, subject.sources) if subject.walker else None


def flags_of(walker: Walker) -> tuple[str, ...]:
    """What the walker wants the subject built with, for smaller tables and pages."""
    return tuple(walker.told("FLAGS", ()))


def plain_walker_of(subject: Subject) -> Walker | None:
    """The walker, where it is about the subject as it is built for everybody; raises WalkError."""
    walker = walker_of(subject) if NATIVE else None
    return None if walker is None or flags_of(walker) else walker


def probe_of(walker: Walker) -> str:
    """C that tells where the fields named by the walker lie, compiled together with the subject."""
    fields = walker.told("FIELDS", ())
    if not fields:
        return ""
    struct = walker.told("STRUCT", "struct mem_heap")
    rows = ", ".join(
        f"offsetof({struct}, {name}), sizeof((({struct} *)0)->{name})" for name in fields
    )
    header = walker.told("HEADER", "")
    return (
        f"#include <stddef.h>\n#include <stdint.h>\n{header}\n"
        f"extern const uint64_t {SYMBOL}[];\nconst uint64_t {SYMBOL}[] = {{ {rows} }};\n"
    )


Place = tuple[int, int]  # (address, bytes)


@dataclass
class Places:
    """Where the fields of the heap structure and the global variables lie."""

    fields: dict[str, Place]
    variables: dict[str, Place]

    def field(self, name: str) -> Place:
        """Raises WalkError."""
        if name not in self.fields:
            raise WalkError(f"no field of the heap structure is called {name}: FIELDS names them")
        return self.fields[name]

    def variable(self, name: str) -> Place:
        """Raises WalkError."""
        if name not in self.variables:
            raise WalkError(f"the subject has no global variable {name}")
        return self.variables[name]


def places_of(walker: Walker, module: Module, address_of: Callable[[str], int]) -> Places:
    """The places of the walker's FIELDS (of the heap structure) and of all global variables."""
    variables = {one.name: (address_of(one.name), one.size) for one in module.globals.values()}
    fields: dict[str, Place] = {}
    table = module.globals.get(SYMBOL)
    if table is not None:
        numbers = {at // 8: part.value for at, part in table.parts or ()}
        heap = address_of(walker.told("HEAP", "heap"))
        for index, name in enumerate(walker.told("FIELDS", ())):
            fields[name] = (heap + numbers.get(2 * index, 0), numbers.get(2 * index + 1, 0))
    return Places(fields, variables)


@dataclass
class View:
    """What a walker is handed; `word` is what the three views do differently.

    rows  (start, bytes) of the memory below the break that was granted, from the lowest up
    maps  the same of the mapped regions, in the order they were granted
    """

    places: Places
    settings: Callable[[int, int], int]
    rows: tuple[tuple[Number, Number], ...] = ()
    maps: tuple[tuple[Number, Number], ...] = ()
    blocks: list[SeenBlock] = field(default_factory=list)

    between = staticmethod(Between)

    def word(self, address: Number, among: Among, rule: str, what: str = STRAY, size: int = 8):
        """The number in the `size` bytes at `address`, which must be one of `among`."""
        raise NotImplementedError

    def need(self, rule: str, what: str, fact: Fact | bool) -> None:
        """What must hold of numbers that were read."""
        raise NotImplementedError

    def zeros(self, address: Number, size: int, rule: str, what: str = STRAY) -> None:
        """All `size` bytes at `address` are 0: a table of which this memory uses a part."""
        raise NotImplementedError

    def sealed(self, address: Number, name: str, arguments: Sequence[Number], rule: str) -> None:
        """The 8 bytes at `address` are what the opaque function makes of these arguments."""
        raise NotImplementedError

    def any_field(self, name: str) -> None:
        """A field of the heap structure that may hold anything."""
        raise NotImplementedError

    def beside(self, address: Number, step: int, flags: int, rule: str) -> Number:
        """The 8 bytes at `address`: a neighbour's multiple of `step`, that stays, and these flags.

        In a window only.
        """
        raise NotImplementedError

    def visited(self) -> list[Number | None]:
        """Where the blocks begin that the order names, None for none.  In a window only."""
        raise NotImplementedError

    def members(self, free: Sequence[tuple[Number, Number]], rule: str) -> None:
        """The index of free blocks has these, (address, size), and no others.

        In a window only, of a walker whose INDEX names the functions that change the index.
        """
        raise NotImplementedError

    def field(self, name: str, among: Among, rule: str, what: str = STRAY) -> Number:
        """The number in a field of the heap structure."""
        address, size = self.places.field(name)
        return self.word(address, among, rule, what, size)

    def variable(self, name: str, among: Among, rule: str, what: str = STRAY) -> Number:
        """The number in a global variable."""
        address, size = self.places.variable(name)
        return self.word(address, among, rule, what, size)

    def address(self, name: str) -> int:
        """Where a field of the heap structure lies."""
        return self.places.field(name)[0]

    def setting(self, name: str) -> int:
        """What initialisation left in a field that nothing changes afterwards."""
        return self.settings(*self.places.field(name))

    def block(self, payload: Number, usable: Number, used: bool) -> None:
        """A block of the heap; every used one must be held by somebody."""
        self.blocks.append(SeenBlock(payload, usable, bool(used)))

    @staticmethod
    def which(candidates: Sequence[Number], chosen: Number) -> int:
        """The index of the one that was chosen among the candidates."""
        for index, other in enumerate(candidates):
            plain = isinstance(chosen, int) and isinstance(other, int)
            if other is chosen or (plain and other == chosen):
                return index
        return next(index for index, other in enumerate(candidates) if other == chosen)

    @staticmethod
    def without(candidates: Sequence[Number], chosen: Number) -> list[Number]:
        """The candidates but for the one that was chosen among them."""
        plain = isinstance(chosen, int)
        return [
            other
            for other in candidates
            if other is not chosen and not (plain and isinstance(other, int) and other == chosen)
        ]

    def pick(self, rule: str, what: str, truths: Sequence[Fact | bool]) -> int:
        """Which of the truths holds, the first that does; one of them must."""
        anything: Fact | bool = False
        for truth in truths:
            anything = anything | truth
        self.need(rule, what, anything)
        for index, truth in enumerate(truths):
            if truth:
                return index
        raise AssertionError("one of them was needed")


# ---- the premise: every heap that satisfies the walk ----


class Pruned(Exception):
    """The choices made so far lead to no heap."""


@dataclass(frozen=True)
class Sealed:
    """What an opaque function makes of its arguments."""

    name: str
    arguments: tuple[int, ...]


@dataclass
class Choices(View):
    """A heap in the making: each word is chosen among what it may hold."""

    decisions: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    words: dict[tuple[int, int], int | Sealed] = field(default_factory=dict)
    unknown: list[tuple[int, int]] = field(default_factory=list)
    _bytes: dict[int, tuple[int, int]] = field(default_factory=dict)

    def word(self, address, among, rule, what=STRAY, size=8):
        """Chooses, or finds what was chosen before."""
        if (address, size) not in self.words:
            self._claim(address, size)
            self.words[address, size] = self._choose(list(among))
        value = self.words[address, size]
        if value not in tuple(among):
            raise Pruned
        return value

    def zeros(self, address, size, rule, what=STRAY):
        """One long word."""
        self.word(address, [0], rule, what, size)

    def sealed(self, address, name, arguments, rule):
        """Remembers of what: the state will hold the function itself."""
        self._claim(address, 8)
        self.words[address, 8] = Sealed(name, tuple(arguments))

    def any_field(self, name):
        """Left open."""
        self._claim(*self.places.field(name))
        self.unknown.append(self.places.field(name))

    def _claim(self, address: int, size: int) -> None:
        for byte in range(address, address + size):
            if byte in self._bytes:
                raise WalkError(f"two words of the walk share the byte at {byte:#x}")
            self._bytes[byte] = (address, size)

    def _choose(self, candidates: list[int]) -> int:
        if not candidates:
            raise Pruned
        if len(candidates) == 1:
            return candidates[0]
        depth = len(self.counts)
        self.counts.append(len(candidates))
        if depth == len(self.decisions):
            self.decisions.append(0)
        return candidates[self.decisions[depth]]

    def need(self, rule, what, fact):
        """Gives up a heap of which it does not hold."""
        if not truth_of(fact):
            raise Pruned


@dataclass(frozen=True)
class Shape:
    """A valid heap: what its words hold, and its blocks; all other bytes may be anything.

    words    (address, bytes) -> value
    unknown  (address, bytes) of variables that may hold anything
    """

    rows: tuple[tuple[int, int], ...]
    maps: tuple[tuple[int, int], ...]
    words: dict[tuple[int, int], int | Sealed]
    blocks: tuple[SeenBlock, ...]
    unknown: tuple[tuple[int, int], ...] = ()

    def picture(self) -> str:
        """One line: usable bytes of the blocks from the lowest up, `#` used, `.` free."""
        ordered = sorted(self.blocks, key=lambda block: block.payload)
        return "|".join(f"{'#' if one.used else '.'}{one.usable}" for one in ordered) or "empty"


def shapes(
    walker: Walker, places: Places, settings: Callable[[int, int], int], rows=(), maps=()
) -> Iterator[Shape]:
    """Every heap in this memory that satisfies the walk, each once."""
    decisions: list[int] = []
    while True:
        view = Choices(places, settings, tuple(rows), tuple(maps), decisions=decisions)
        try:
            walker.walk(view)
        except Pruned:
            pass
        else:
            blocks, unknown = tuple(view.blocks), tuple(view.unknown)
            yield Shape(view.rows, view.maps, view.words, blocks, unknown)
        decisions, counts = view.decisions[: len(view.counts)], view.counts
        while decisions and decisions[-1] + 1 == counts[len(decisions) - 1]:
            decisions.pop()
        if not decisions:
            return
        decisions[-1] += 1
