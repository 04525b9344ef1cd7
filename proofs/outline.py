"""A part of a heap of any size, as a premise: runs of blocks at places and of sizes that are open.

What words such a part has, the subject's `window(heap)` says: the same function, run over what an
operation left, is the conclusion (`Sighting`).  What the rest of the heap holds is not said, and
nobody may touch it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import z3

from proofs.logic import Truth, at_most, every, less, plain, some
from proofs.memory import Word, Write
from proofs.opaque import applied
from proofs.path import Reasoning
from proofs.remember import remembered
from proofs.sight import Number, seen, term_of, truth_of
from proofs.solver import Model
from proofs.terms import (
    WORD,
    constant_distance,
    constant_of,
    distance_bounds,
    number,
    simplify,
    width_of,
)
from proofs.walks import STRAY, Between, SeenBlock, View, WalkError

LOWEST = 2**48  # beyond all that has an address of its own: code, globals, the stack
PLACE_BITS, SIZE_BITS = 57, 56
LARGEST = 2 ** (SIZE_BITS + 4) - 16
BESIDES = 8  # bytes of a tag below the blocks or above them, still the run's own
SMALL_BITS = 2  # for a counterexample that a machine can play
INNER, BESIDE, UNSEEN = "inner", "beside", "unseen"
LETTERS = {"b": (BESIDE, "F"), "B": (BESIDE, "H"), ".": (UNSEEN, "F")}
NOTHING = "-"


@dataclass(frozen=True)
class Case:
    """A window: its blocks from the lowest up, and in which order lists and pointers visit what.

    blocks  a letter each: U used, H used and no operation is about it, F free
    order   a digit: that block; b: a free block somewhere else; B: a used one; `-`: none;
            `.`: free blocks that are not seen
    """

    blocks: str
    order: str = ""

    def told(self) -> str:
        """In a few letters."""
        return f"{self.blocks}, {self.order or 'nothing'} in the list"


@dataclass(frozen=True)
class Grid:
    """Where blocks can begin, modulo `grain`; sizes are multiples of it, `smallest` the least."""

    offset: int
    grain: int
    smallest: int


@dataclass(frozen=True)
class Run:
    """Blocks that follow each other: (start, size, used) of each; what lies around them is used."""

    role: str
    blocks: tuple[tuple[z3.BitVecRef, z3.BitVecRef, bool], ...]
    end: z3.BitVecRef
    letters: str = ""

    @property
    def start(self) -> z3.BitVecRef:
        """Where the lowest block begins."""
        return self.blocks[0][0]


def runs_of(case: Case, grid: Grid, small: bool = False) -> tuple[tuple[Run, ...], list]:
    """The runs of a case, the window's own first; and what the order leads to, None for nothing."""
    inner = _run("window", INNER, case.blocks, grid, small)
    runs, order = [inner], []
    for letter in case.order:
        if letter == NOTHING:
            order.append(None)
        elif letter.isdigit():
            order.append(inner.blocks[int(letter)][0])
        else:
            role, block = LETTERS[letter]
            runs.append(_run(f"{role}{len(runs)}", role, block, grid, small))
            order.append(runs[-1].start)
    return tuple(runs), order


def _run(name: str, role: str, letters: str, grid: Grid, small: bool) -> Run:
    at = simplify(_multiple(f"{name}.at", PLACE_BITS, grid) + (LOWEST + grid.offset))
    blocks = []
    for index, letter in enumerate(letters):
        more = _multiple(f"{name}.{index}.size", SMALL_BITS if small else SIZE_BITS, grid)
        size = simplify(more + grid.smallest)
        blocks.append((at, size, letter in "UH"))
        at = simplify(at + size)
    return Run(role, tuple(blocks), at, letters)


def _multiple(name: str, bits: int, grid: Grid) -> z3.BitVecRef:
    """Any multiple of the grain that has so many bits above it."""
    zeros = (grid.grain - 1).bit_length()
    return z3.Concat(number(0, WORD - bits - zeros), z3.BitVec(name, bits), number(0, zeros))


def apart(runs: Sequence[Run], grid: Grid) -> list[Truth]:
    """Between two runs there is something: their bytes are not shared, nor the tags around them."""
    return [
        some(
            at_most(simplify(one.end + grid.grain), other.start),
            at_most(simplify(other.end + grid.grain), one.start),
        )
        for index, one in enumerate(runs)
        for other in runs[:index]
    ]


@dataclass(frozen=True)
class Sketch:
    """A window with all that is known of it.

    words   (address, bytes, value), as the walk chose them
    order   the blocks that the list leads to
    open    the places that code may touch: (address, bytes, whether it may write)
    kept    (address, number): what a neighbour's word holds beside its flags
    members (address, size) of each block in the index of free blocks
    inside  addresses of which the path knows that 8 bytes at them lie in the window
    """

    case: Case
    runs: tuple[Run, ...]
    words: tuple[tuple[z3.BitVecRef, int, z3.BitVecRef], ...]
    blocks: tuple[SeenBlock, ...]
    order: tuple[z3.BitVecRef, ...]
    open: tuple[tuple[z3.BitVecRef, z3.BitVecRef, bool], ...]
    kept: tuple[tuple[z3.BitVecRef, z3.BitVecRef], ...] = ()
    members: tuple[tuple[z3.BitVecRef, z3.BitVecRef], ...] = ()
    inside: tuple[z3.BitVecRef, ...] = ()

    def run_of(self, address: z3.BitVecRef) -> Run | None:
        """The run that the 8 bytes at the address lie in, or right beside, where that is known."""
        if any(known.eq(address) for known in self.inside):
            return self.runs[0]
        return _run_of(self.runs, address)

    def apart(self, write: Write, address: z3.BitVecRef, size: int) -> bool:
        """Whether they are known to lie in different runs."""
        if not isinstance(write, Word) or size > BESIDES or width_of(write.value) > 8 * BESIDES:
            return False
        runs = self.run_of(write.address), self.run_of(address)
        return None not in runs and runs[0] is not runs[1]

    def picture(self, model: Model) -> str:
        """One line: the sizes of the window's blocks, and the list, as in this state."""
        row = "|".join(
            f"{'#' if used else '.'}{model.value(size)}" for _, size, used in self.runs[0].blocks
        )
        others, order = iter(self.runs[1:]), []
        for letter in self.case.order:
            if letter.isdigit():
                order.append(f"block {letter} of them")
            elif letter == NOTHING:
                order.append("nothing")
            else:
                run = next(others)
                below = model.value(run.start) < model.value(self.runs[0].start)
                side = "one below" if below else "one above"
                order.append("unseen ones" if run.role == UNSEEN else side)
        return f"...|{row}|... with the list: {', '.join(order) or 'empty'}"


@dataclass
class Outline(View):
    """A window in the making: what its words hold is told by the case, or left open.

    runs     (start, end) of each run
    size_at, used_at  where a block has its size, and its flag if that is a word, from its start
    letters  of the window's blocks, before the operation
    """

    runs: tuple[tuple[Number, Number], ...] = ()
    parts: tuple[Run, ...] = ()
    order: list = field(default_factory=list)
    reasoning: Reasoning = None  # type: ignore[assignment]
    size_at: int = 0
    used_at: int | None = None
    letters: str = ""
    words: dict[tuple, tuple] = field(default_factory=dict)
    facts: list[Truth] = field(default_factory=list)
    kept: list[tuple] = field(default_factory=list)
    indexed: list[tuple] = field(default_factory=list)
    LARGEST = LARGEST

    def __post_init__(self) -> None:
        self._writable: set[tuple] = set()
        self.runs = tuple((self._seen(run.start), self._seen(run.end)) for run in self.parts)
        self._given = {
            _key(simplify(at + self.size_at)): (size, used)
            for run in self.parts
            for at, size, used in run.blocks
        }
        self._flags = {
            _key(simplify(at + self.used_at)): used
            for run in self.parts
            if self.used_at is not None
            for at, _, used in run.blocks
        }

    def _seen(self, term: z3.BitVecRef) -> Number:
        return seen(term, _undecided)

    def word(self, address, among, rule, what=STRAY, size=8):
        """What the case says, or anything among the candidates."""
        known = self.words.get(_key(term_of(address)))
        if known is not None:
            return self._seen(known[2])
        flag = self._flags.get(_key(term_of(address)))
        if flag is not None:
            value: Number = int(flag)
        else:
            value = self._any(address, among) if isinstance(among, Between) else self._next(among)
        kept = z3.Extract(8 * size - 1, 0, term_of(value)) if size * 8 < WORD else term_of(value)
        self.words[_key(term_of(address))] = (term_of(address), size, simplify(kept))
        return value

    def beside(self, address, step, flags, rule):
        """Left open, but for the flags; may be written."""
        base = self._open_number(Between(0, LARGEST, step))
        self.kept.append((term_of(address), term_of(base)))
        return self._beside(address, simplify(term_of(base) + flags))

    def sealed(self, address, name, arguments, rule):
        """The function itself; may be written."""
        self._beside(address, applied(name, [term_of(argument) for argument in arguments]))

    def _beside(self, address: Number, value: z3.BitVecRef) -> Number:
        key = _key(term_of(address))
        self.words[key] = (term_of(address), WORD // 8, value)
        self._writable.add(key)
        return self._seen(value)

    def visited(self):
        """What the order says."""
        return [None if start is None else self._seen(start) for start in self.order]

    def members(self, free, rule):
        """Part of the premise."""
        self.indexed = [(term_of(at), term_of(size)) for at, size in free]

    def _any(self, address: Number, among: Between) -> Number:
        given = self._given.get(_key(term_of(address)))
        if given is not None:
            size, used = given
            return self._seen(size + number(among.also[used and len(among.also) > 1]))
        return self._open_number(among)

    def _open_number(self, among: Between) -> Number:
        steps = (among.high - among.low) // among.step
        free = self.reasoning.fresh("any", max(steps.bit_length(), 1))
        wide = z3.ZeroExt(WORD - free.size(), free) * number(among.step)
        if steps != (1 << free.size()) - 1:
            self.facts.append(z3.ULE(free, steps))
        return self._seen(wide + number(among.low + among.also[0]))

    def _next(self, among: Sequence[Number]) -> Number:
        """The candidate that the order names first; 0 where it names none."""
        if len(among) == 1:
            return among[0]
        by_key = {_key(term_of(candidate)): candidate for candidate in among}
        for start in self.order:
            if start is not None and _key(start) in by_key:
                return by_key[_key(start)]
        if _key(number(0)) not in by_key:
            raise WalkError("a window whose order names no block where one must be")
        return 0

    def need(self, rule, what, fact):
        """Part of the premise."""
        decided = plain(truth_of(fact))
        if decided is False:
            raise WalkError(f"a window that breaks {rule}: {what}")
        if decided is None:
            self.facts.append(truth_of(fact))

    def sketch(self, case: Case, fields: Sequence[tuple[int, int]]) -> Sketch:
        """The window once the walk has gone through it; `fields` is where variables lie."""
        words = tuple(self.words.values())
        open_ = tuple(self._open(words, fields))
        return Sketch(
            case, self.parts, words, tuple(self.blocks), tuple(self.order), open_,
            tuple(self.kept), tuple(self.indexed),
        )  # fmt: skip

    def _open(self, words, fields: Sequence[tuple[int, int]]):
        """The window itself; links between blocks that are seen; variables; tags beside."""
        inner, *others = self.parts
        yield inner.start, simplify(inner.end - inner.start), True
        besides = [run for run in others if run.role == BESIDE]
        near = {_key(number(0)), *(_key(at) for at, _, _ in inner.blocks)}
        near |= {_key(run.start) for run in besides}
        for address, size, value in words:
            seen_there = any(_lies_in(address, run) for run in besides)
            linked = _key(value) in near and seen_there
            if linked or constant_of(address) is not None or _key(address) in self._writable:
                yield address, number(size), True
            elif seen_there or any(
                constant_distance(address, at) is not None for at in (inner.start, inner.end)
            ):
                yield address, number(size), False
        for start, size in fields:
            yield number(start), number(size), False


@remembered
def _run_of(runs: tuple[Run, ...], address: z3.BitVecRef) -> Run | None:
    for run in runs:
        above, below = distance_bounds(address, run.start), distance_bounds(run.end, address)
        if above and below and above[0] >= -BESIDES and below[0] >= 0:
            return run
    return None


def _lies_in(address: z3.BitVecRef, run: Run) -> bool:
    return plain(every(at_most(run.start, address), less(address, run.end))) is True


def _key(term: z3.BitVecRef) -> tuple:
    known = constant_of(term)
    return ("number", known) if known is not None else ("term", simplify(term).get_id())


def _undecided(_truth) -> bool:
    raise WalkError("the window's walk decides what the case leaves open")
