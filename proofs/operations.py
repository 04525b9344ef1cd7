"""The operations of the bounded check, and the exploration of every program made of them.

An operation is tried with every operand at once; what it owes is filed under the claims of
bounded_claims.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import z3

from proofs.claims import Ledger
from proofs.engine import Engine
from proofs.invariants import Row
from proofs.logic import at_most, equal, every, is_aligned, less, some
from proofs.memory import Memory, Scribble, Write
from proofs.path import Path, PathAsker
from proofs.scenery import (
    ABORTS,
    ENOMEM,
    ERRNO,
    HEAP,
    PAGE_SOURCE,
    Block,
    Step,
    concluded,
    empty_world,
    errno_of,
    inside,
    told,
    writes_beside_errno,
)
from proofs.terms import WORD, number, simplify, value_range
from proofs.walk import Walker

LIMIT = 4 * 4096
PROMISED_ALIGNMENT, TAGS_BYTES = 16, 16
TAG = 8

OUTSIDE = "a block lies outside granted memory"
MISALIGNED = "a block is misaligned"
OVERLAP = "two live blocks overlap"
WRITTEN = "a live block is written to"
PREFIX_LOST = "a resized block has lost a byte"
NOT_ZERO = "a cleared block holds a byte that is not zero"
NO_HOLDER = "a live block has no used block that holds it"
FAILURE_WRITES = "a failed request writes to the heap"
NO_ENOMEM = "errno is not ENOMEM after a failure"
FREE_SETS_ERRNO = "free writes to errno"
NOBODYS = "a used block is nobody's"


@dataclass(frozen=True)
class Menu:
    """What a program may be made of: verbs, the alignments tried, how many operations."""

    verbs: tuple[str, ...]
    depth: int
    alignments: tuple[int, ...] = ()
    foreign: bool = False

    def told(self) -> str:
        """The menu in words, for a report's assumptions."""
        extra = ", gaps up to 255 bytes (0 or 9 mod 16) before grants" if self.foreign else ""
        return f"{', '.join(self.verbs)}: up to {self.depth} operations{extra}"


@dataclass
class Exploration:
    """All programs of a menu, level by level."""

    engine: Engine
    ledger: Ledger
    menu: Menu
    levels: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Explores to the menu's depth; stops behind the first heap that refutes something."""
        states = [self._opened()]
        for level in range(1, self.menu.depth + 1):
            following: list[Path] = []
            for index, state in enumerate(states):
                self.ledger.progress(f"operation {level}: heap {index + 1} of {len(states)}")
                following += self._operations(state)
                if self.ledger.refuted:
                    return
            self.levels.append(len(following))
            states = following

    def _opened(self) -> Path:
        path = empty_world(self.engine, self.engine.reasoning)
        self.ledger.premise(path)
        ((path, _),) = self.engine.call(path, "mem_open", [number(HEAP), number(PAGE_SOURCE)])
        self.ledger.settle(path)
        return path

    def _operations(self, state: Path) -> Iterator[Path]:
        for verb in self.menu.verbs:
            yield from getattr(self, f"_{verb}")(state.fork())

    # ---- the operations ----

    def _malloc(self, state: Path) -> Iterator[Path]:
        for path, size in self._sizes(state):
            yield from self._request(path, "malloc", (size,), "mem_alloc", [size], size)

    def _calloc(self, state: Path) -> Iterator[Path]:
        """count * 1: that the product is exact is size.calloc_product's business."""
        for path, count in self._sizes(state):
            one = number(1)
            yield from self._request(
                path, "calloc", (count, one), "mem_alloc_clear", [count, one], count
            )

    def _aligned_alloc(self, state: Path) -> Iterator[Path]:
        for alignment in self.menu.alignments:
            for path, size in self._sizes(state.fork()):
                operands = (number(alignment), size)
                yield from self._request(
                    path, "aligned_alloc", operands, "mem_alloc_aligned", operands, size, alignment
                )

    def _realloc(self, state: Path) -> Iterator[Path]:
        if not state.scene.story:
            self._resize_nothing(state.fork())
        for block in state.scene.live:
            for path, size in self._sizes(state.fork()):
                yield from self._resize(path, block, size)

    def _resize_nothing(self, state: Path) -> None:
        """realloc of NULL: settled, and not gone on with, for malloc leads to the same heaps."""
        for path, size in self._sizes(state):
            null = [number(0), size]
            for _ in self._request(path, "realloc", (size,), "mem_resize", null, size):
                pass

    def _free(self, state: Path) -> Iterator[Path]:
        for block in state.scene.live:
            path = self._begun(state.fork(), Step("free", (), block=block.number))
            path.scene = replace(path.scene, live=_without(path.scene.live, block))
            for outcome, _ in self._called(path, "mem_free", [block.payload]):
                quiet = all(value_range(write.address)[0] != ERRNO for write in outcome.writes)
                outcome.owe("errno", FREE_SETS_ERRNO, quiet)
                yield from self._after(outcome)

    def _sizes(self, state: Path) -> Iterator[tuple[Path, z3.BitVecRef]]:
        """Any size, split in two: those that could be served have a form that shows it."""
        name = f"size.{len(state.scene.story)}"
        short = z3.ZeroExt(WORD - LIMIT.bit_length(), z3.BitVec(name, LIMIT.bit_length()))
        yield state.fork(), simplify(short)
        wide = z3.BitVec(f"{name}.wide", WORD)
        if self.engine.reasoning.assume(state, z3.UGE(wide, 2 << LIMIT.bit_length() - 1)):
            yield state, wide

    # ---- before and after a call ----

    def _begun(self, path: Path, step: Step) -> Path:
        path.writes = ()
        return told(path, step)

    def _called(self, path: Path, name: str, arguments) -> list:
        outcomes = self.engine.call(path, name, [number(HEAP), *arguments])
        for ended in self.engine.ended:
            self.ledger.settle(ended)
        self.engine.ended.clear()
        for path, _ in outcomes:
            path.owe("abort", ABORTS, True)
        return outcomes

    def _request(self, path, verb, operands, function, arguments, size, alignment=None):
        made = _next_number(path)
        self._begun(path, Step(verb, operands, made=made))
        for outcome, result in self._called(path, function, list(arguments)):
            for failed, side in self._split(outcome, equal(result, 0)):
                concluded(side)
                if failed:
                    yield from self._failed(side)
                    continue
                if verb == "calloc":
                    self._settle_zero(side, result, size)
                self._owe_untouched(side, side.scene.live)
                yield from self._granted(side, Block(made, result, size), alignment)

    def _resize(self, path: Path, block: Block, size) -> Iterator[Path]:
        made = _next_number(path)
        self._begun(path, Step("realloc", (size,), block=block.number, made=made))
        others, before = _without(path.scene.live, block), path.memory
        for outcome, result in self._called(path, "mem_resize", [block.payload, size]):
            for failed, side in self._split(outcome, equal(result, 0)):
                concluded(side)
                if failed:
                    yield from self._failed(side)
                    continue
                self._settle_kept(side, block, before, result, size)
                self._owe_untouched(side, others)
                side.scene = replace(side.scene, live=others)
                yield from self._granted(side, Block(made, result, size), None)

    def _granted(self, path: Path, block: Block, alignment) -> Iterator[Path]:
        """What a granted block owes; once that is settled its client writes what it likes."""
        payload, size = block.payload, block.size
        least = alignment or PROMISED_ALIGNMENT
        path.owe("alignment", MISALIGNED, is_aligned(payload, least))
        within = some(*(inside(payload, size, *piece) for piece in path.scene.pieces))
        path.owe("bounds", OUTSIDE, within)
        for other in path.scene.live:
            apart = _apart(payload, _extent(size), other.payload, _extent(other.size))
            path.owe("overlap", OVERLAP, apart)
        path.scene = replace(path.scene, live=(*path.scene.live, block))
        for sound in self._after(path):
            written = Scribble(payload, size, len(sound.scene.story))
            sound.memory = sound.memory.after(written)
            yield sound

    def _failed(self, path: Path) -> Iterator[Path]:
        """Nothing has changed, so all that can follow is explored from the state before.

        Unless pages were granted before others were refused: then the heap has grown.
        """
        path.owe("errno", NO_ENOMEM, equal(errno_of(self.engine, path), ENOMEM))
        if path.scene.requests.granted:
            self._owe_untouched(path, path.scene.live)
            yield from self._after(path)
            return
        path.owe("survival", FAILURE_WRITES, not writes_beside_errno(path))
        self.ledger.settle(path)

    def _after(self, path: Path) -> Iterator[Path]:
        """Walks the heap; hands on the states in which everything owed holds."""
        for walked, row in Walker(self.engine, self.ledger).rows(path):
            if row is not None:
                _owe_holders(walked, row)
            if self.ledger.settle(walked):
                yield walked

    def _owe_untouched(self, path: Path, blocks) -> None:
        for write in writes_beside_errno(path):
            for block in blocks:
                apart = _writes_apart(write, block)
                path.owe("content", WRITTEN, apart)

    def _settle_zero(self, path: Path, payload, size) -> None:
        """Any one byte of the block reads zero, so all do."""
        probe, index = path.fork(), self._any_index()
        if self.engine.reasoning.assume(probe, less(index, size)):
            byte = self.engine.load(probe, simplify(payload + index), 1)
            self._settle_alone(probe, "zeroed", NOT_ZERO, equal(byte, 0))

    def _settle_kept(self, path: Path, block: Block, before: Memory, moved, size) -> None:
        """Any one byte of the old block below min(old, new) is where it belongs."""
        probe, index = path.fork(), self._any_index()
        within = every(less(index, size), less(index, block.size))
        if self.engine.reasoning.assume(probe, within):
            asker = PathAsker(self.engine.reasoning, probe)
            old = before.load(simplify(block.payload + index), 1, asker)
            new = self.engine.load(probe, simplify(moved + index), 1)
            self._settle_alone(probe, "prefix", PREFIX_LOST, equal(old, new))

    def _settle_alone(self, probe: Path, family: str, what: str, truth) -> None:
        """Settles one obligation on a path of its own; the operation's other debts stay."""
        probe.owed = ()
        probe.owe(family, what, truth)
        self.ledger.settle(probe)

    def _any_index(self) -> z3.BitVecRef:
        width = LIMIT.bit_length()
        return z3.ZeroExt(WORD - width, self.engine.reasoning.fresh("index", width))

    def _split(self, path: Path, truth):
        return self.engine.reasoning.split(path, truth)


def _next_number(path: Path) -> int:
    return sum(step.made is not None for step in path.scene.story)


def _without(live: tuple[Block, ...], block: Block) -> tuple[Block, ...]:
    return tuple(other for other in live if other.number != block.number)


def _extent(size):
    """A block of 0 bytes is still a block of its own."""
    return size if value_range(size)[0] else z3.If(size == 0, number(1), size)


def _apart(first, length, second, width):
    return some(at_most(simplify(first + length), second), at_most(simplify(second + width), first))


def _writes_apart(write: Write, block: Block):
    return some(
        equal(block.size, 0),
        _apart(simplify(write.address), write.length, simplify(block.payload), block.size),
        equal(write.length, 0),
    )


def _owe_holders(path: Path, row: Row) -> None:
    """The used blocks of the row are exactly the live blocks, and large enough for them."""
    used = [block for block in row.blocks if block.used]
    for live in path.scene.live:
        held = some(
            *(
                every(
                    equal(live.payload, simplify(block.address + TAG)),
                    at_most(live.size, simplify(block.size - TAGS_BYTES)),
                )
                for block in used
            )
        )
        path.owe("usable", NO_HOLDER, held)
    spare = len(used) <= len(path.scene.live) + path.scene.gaps
    path.owe("reclaim", NOBODYS, spare)
