"""Every program of a few operations from the empty heap, on any allocator, with symbolic sizes.

The allocator is met through its adapter alone, and its promises are its contract's; what each
operation owes is filed under the claims of program_claims.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

import z3

from models.contract import Contract
from models.trace import Kind, Op
from proofs import sizes
from proofs.c_library import ABORTS
from proofs.claims import Ledger
from proofs.engine import Engine
from proofs.host import ARENA, ENOMEM, Host, errno_of, inside
from proofs.logic import Truth, at_most, equal, every, is_aligned, less, negate, plain, some
from proofs.memory import Memory, Scribble
from proofs.menu import GAPS, Menu
from proofs.path import Path, PathAsker, Touch
from proofs.scenery import (
    PTRDIFF_MAX,
    Block,
    Scene,
    Step,
    apart,
    broken,
    concluded,
    differing,
    lasting_writes,
    next_number,
    told,
    without,
    writes_apart,
)
from proofs.terms import WORD, number, simplify, value_range

OUTSIDE = "a block lies outside granted memory"
MISALIGNED = "a block is misaligned"
ABSURD = PTRDIFF_MAX + 1
OVERLAP = "two live blocks overlap"
WRITTEN = "a live block is written to"
PREFIX_LOST = "a resized block has lost a byte"
NOT_ZERO = "a cleared block holds a byte that is not zero"
TOO_SMALL = "usable_size is below the request"
CHANGED = "a failed request writes to a live block"
NO_ENOMEM = "errno is not ENOMEM after a failure"
FREE_SETS_ERRNO = "free changes errno"
NO_BLOCK = "a request of 0 bytes is not answered as promised"
OVERFLOWED = "an overflowing product is granted"
INIT = "the heap does not start"
FITTED = "a request is refused that a free block would have served"
TOO_LARGE = "a request over PTRDIFF_MAX is granted"


@dataclass
class Exploration:
    """All programs of a menu, level by level, on a subject with this contract.

    has     the subject's functions, as the catalogue tells them
    rules   the white-box rules that its validity predicate can name
    look    what to do instead of asking that predicate: gives the path's possible heaps
    fits    (path, size, alignment) -> when a request must be served from the heap as it was
    """

    engine: Engine
    ledger: Ledger
    menu: Menu
    host: Host
    contract: Contract
    has: frozenset[str]
    rules: frozenset[str] = frozenset()
    look: Callable[[Path], Iterable[Path]] | None = None
    fits: Callable[[Path, z3.BitVecRef, int], Truth] | None = None
    levels: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Explores to the menu's depth; stops behind the first heap that refutes something."""
        states = self._prefixed()
        for level in range(1, self.menu.depth + 1):
            following: list[Path] = []
            for index, state in enumerate(states):
                self.ledger.progress(f"operation {level}: heap {index + 1} of {len(states)}")
                following += self.operations(state)
                if self.ledger.refuted:
                    return
            self.levels.append(len(following))
            states = following

    def opened(self) -> Iterator[Path]:
        """The heaps that there are before the first operation."""
        arena, begun = self.contract.arena, []
        path = self.host.started(self.engine, self.engine.reasoning, Scene, arena)
        self.ledger.premise(path)
        if "allocheck_init" not in self.engine.module.functions:
            return iter((path,))
        arguments = [number(ARENA if arena else 0), number(arena)]
        for opened, result in self.engine.call(path, "allocheck_init", arguments):
            for failed, side in self._split(opened, negate(equal(result, 0))):
                self._settle_ended()
                refused = side.scene.pages.requests.refused
                if not failed and self.ledger.settle(side):
                    begun.append(side)
                elif failed and not refused:
                    side.owe("bounds", INIT, False)
                    self.ledger.settle(side)
        return differing(self.engine, begun)

    def exactly(self, state: Path, op: Op) -> Iterator[Path]:
        """One operation with the numbers that it has; a block that is not there is a KeyError."""
        live = {block.number: block for block in state.scene.live}
        size, path = number(op.size), state.fork()
        if op.kind is Kind.FREE:
            return self._release(path, live[op.first])
        if op.kind is Kind.REALLOC:
            return self._resize(path, live[op.first], size)
        operands = (size,) if op.kind is Kind.MALLOC else (number(op.first), number(op.second))
        return self._request(path, op.kind.name.lower(), operands, size, op.alignment or None)

    def _prefixed(self) -> list[Path]:
        """The heaps that the prefix makes; none where it refutes something."""
        states = list(self.opened())
        for op in self.menu.prefix:
            following = [path for each in states for path in self.exactly(each, op)]
            states = [path for path in following if not path.scene.story[-1].requests.refused]
        return [] if self.ledger.refuted else states

    def operations(self, state: Path) -> Iterator[Path]:
        """What each operation of the menu makes of the heap."""
        for verb in self.menu.verbs:
            if {"product": "calloc", "odd": "malloc"}.get(verb, verb) not in self.has:
                continue
            for begun in self._with_gaps(state.fork()):
                yield from getattr(self, f"_{verb}")(begun)

    def _with_gaps(self, state: Path) -> Iterator[Path]:
        """The state as it is, and with others' memory behind the break."""
        for gap in GAPS if self.menu.foreign else ():
            yield self.moved(state.fork(), gap)
        yield state

    def moved(self, state: Path, gap: int) -> Path:
        """The state, where others take so many bytes behind the break."""
        told(state, Step("foreign", (number(gap),)))
        pages = replace(state.scene.pages, top=simplify(state.scene.pages.top + gap))
        state.scene = replace(state.scene, pages=pages)
        return state

    # ---- the operations ----

    def _malloc(self, state: Path) -> Iterator[Path]:
        for path, size in self._sizes(state):
            yield from self._request(path, "malloc", (size,), size)

    def _product(self, state: Path) -> Iterator[Path]:
        """calloc of any two numbers: a block only where their product is exact."""
        for path, count, size in sizes.factors(self.engine.reasoning, state, self.menu.by_powers):
            told(path, Step("calloc", (count, size), made=next_number(path)))
            for outcome, result in self._called(path, "allocheck_calloc", (count, size)):
                yield from self._multiplied(outcome, result, count, size)

    def _multiplied(self, path: Path, result, count, size) -> Iterator[Path]:
        for failed, side in self._split(path, equal(result, 0)):
            concluded(side)
            if not failed:
                whole, pieces = simplify(count * size), side.scene.pages.all
                within = some(equal(whole, 0), *(inside(result, whole, *one) for one in pieces))
                side.owe("product", OVERFLOWED, z3.BVMulNoOverflow(count, size, False))
                side.owe("product", OUTSIDE, within)
            self.ledger.settle(side)
            yield side

    def _calloc(self, state: Path) -> Iterator[Path]:
        """count * 1: that the product is exact is the business of the first request's claims."""
        for path, count in self._sizes(state):
            yield from self._request(path, "calloc", (count, number(1)), count)

    def _aligned_alloc(self, state: Path) -> Iterator[Path]:
        for alignment in self.menu.alignments:
            for path, size in self._sizes(state.fork()):
                yield from self._request(
                    path, "aligned_alloc", (number(alignment), size), size, alignment
                )

    def _realloc(self, state: Path) -> Iterator[Path]:
        for block in state.scene.operands:
            for path, size in self._new_sizes(state.fork()):
                unique = self.contract.realloc_zero == "unique"
                if unique or self.engine.reasoning.assume(path, negate(equal(size, 0))):
                    yield from self._resize(path, block, size)

    def _free(self, state: Path) -> Iterator[Path]:
        for block in state.scene.operands:
            yield from self._release(state.fork(), block)

    def _sizes(self, state: Path) -> Iterator[tuple[Path, z3.BitVecRef]]:
        name, most = sizes.name_in(state.scene), self.menu.most
        bits = (most or self.host.limit).bit_length()
        absurd = [(state.fork(), number(ABSURD))] if most else []
        if self.menu.by_powers:
            return chain(sizes.forked(state, sizes.by_power(name, bits if most else WORD)), absurd)
        return chain(sizes.sizes(self.engine.reasoning, state, name, bits, most), absurd)

    def _new_sizes(self, state: Path) -> Iterator[tuple[Path, z3.BitVecRef]]:
        """Where requests are small, one that nothing fits: a resize must fail somewhere."""
        most = [(state.fork(), number(2 * self.host.limit))] if self.menu.most else []
        return chain(self._sizes(state), most)

    # ---- before and after a call ----

    def _called(self, path: Path, name: str, arguments) -> list:
        outcomes = self.engine.call(path, name, list(arguments))
        self._settle_ended()
        for outcome, _ in outcomes:
            outcome.owe("abort", ABORTS, True)
        return outcomes

    def _settle_ended(self) -> None:
        for ended in self.engine.ended:
            concluded(ended)
            self.ledger.settle(ended)
        self.engine.ended.clear()

    def _request(self, path, verb, operands, size, alignment=None, step=None) -> Iterator[Path]:
        made = next_number(path)
        told(path, step or Step(verb, operands, made=made))
        for outcome, result in self._called(path, f"allocheck_{verb}", operands):
            for failed, side in self._split(outcome, equal(result, 0)):
                concluded(side)
                if failed:
                    self._owe_no_fit(side, size, alignment)
                    yield from self._failed(side, size)
                    continue
                if verb == "calloc":
                    self._settle_zero(side, result, size)
                self._owe_untouched(side, side.scene.live)
                yield from self._granted(side, Block(made, result, size), alignment)

    def _release(self, path: Path, block: Block) -> Iterator[Path]:
        told(path, Step("free", (), block=block.number))
        path.scene = replace(path.scene, live=without(path.scene.live, block))
        return self.freed(path, block.payload)

    def freed(self, path: Path, payload) -> Iterator[Path]:
        """Frees what stands in the story as freed."""
        before = errno_of(self.engine, path)
        for outcome, _ in self._called(path, "allocheck_free", [payload]):
            concluded(outcome)
            if self.contract.free_preserves_errno:
                kept = equal(errno_of(self.engine, outcome), before)
                outcome.owe("errno", FREE_SETS_ERRNO, kept)
            self._owe_untouched(outcome, outcome.scene.live)
            yield from self._after(outcome)

    def _resize(self, path: Path, block: Block, size) -> Iterator[Path]:
        made = next_number(path)
        told(path, Step("realloc", (size,), block=block.number, made=made))
        others, before = without(path.scene.live, block), path.memory
        for outcome, result in self._called(path, "allocheck_realloc", [block.payload, size]):
            for failed, side in self._split(outcome, equal(result, 0)):
                concluded(side)
                if failed:
                    self._owe_no_fit(side, size, None)
                    yield from self._failed(side, size)
                    continue
                self._settle_kept(side, block, before, result, size)
                self._owe_untouched(side, others)
                side.scene = replace(side.scene, live=others)
                yield from self._granted(side, Block(made, result, size), None)

    def _granted(self, path: Path, block: Block, alignment) -> Iterator[Path]:
        """What a granted block owes; once that is settled its client writes what it likes."""
        payload, size = block.payload, block.size
        path.owe("alignment", MISALIGNED, self._aligned(payload, size, alignment))
        if self.contract.malloc_zero == "null":
            path.owe("zero_size", NO_BLOCK, negate(equal(size, 0)))
        elif plain(equal(size, 0)) is not False:
            path.meet(("zero_size", NO_BLOCK))  # here is the block
        if self.contract.refuses_over_ptrdiff:
            path.owe("refusal", TOO_LARGE, at_most(size, PTRDIFF_MAX))
        within = some(*(inside(payload, size, *piece) for piece in path.scene.pages.all))
        granted = Touch(payload, size, False, path.scene)
        path.owe("bounds", OUTSIDE, some(equal(size, 0), within), granted)
        for other in path.scene.live:
            separate = apart(payload, self._extent(size), other.payload, self._extent(other.size))
            path.owe("overlap", OVERLAP, separate)
        path.scene = replace(path.scene, live=(*path.scene.live, block))
        for measured in self._measured(path, block):
            for sound in self._after(measured):
                written = Scribble(payload, size, len(sound.scene.story))
                sound.memory = sound.memory.after(written)
                yield sound

    def _measured(self, path: Path, block: Block) -> Iterator[Path]:
        """Asks usable_size, where there is one."""
        if "usable_size" not in self.has:
            yield path
            return
        for outcome, usable in self._called(path, "allocheck_usable_size", [block.payload]):
            outcome.owe("usable", TOO_SMALL, at_most(block.size, usable))
            yield outcome

    def _aligned(self, payload, size, alignment) -> Truth:
        if alignment or self.contract.alignment:
            return is_aligned(payload, max(alignment or 1, self.contract.alignment))
        cases = [some(less(size, least), is_aligned(payload, least)) for least in (2, 4, 8, 16)]
        return every(*cases)

    def _extent(self, size):
        """A block of 0 bytes may be a block of its own."""
        if value_range(size)[0] or self.contract.malloc_zero != "unique":
            return size
        return z3.If(size == 0, number(1), size)

    def _owe_no_fit(self, path: Path, size, alignment) -> None:
        if self.fits is not None:
            fit = self.fits(path, size, alignment or 1)
            path.owe("fit", FITTED, some(less(PTRDIFF_MAX, size), negate(fit)))

    def _failed(self, path: Path, size) -> Iterator[Path]:
        """Where nothing was written, all that can follow is explored from the state before."""
        nothing = equal(size, 0)
        if self.contract.enomem:
            path.owe("errno", NO_ENOMEM, some(nothing, equal(errno_of(self.engine, path), ENOMEM)))
        if self.contract.malloc_zero == "unique" and not self._may_be_full(path.scene):
            path.owe("zero_size", NO_BLOCK, negate(nothing))
        wrote = lasting_writes(path)
        for write in wrote:
            for block in path.scene.live:
                path.owe("survival", CHANGED, writes_apart(write, block))
        path.owe("survival", CHANGED, True)
        if wrote or path.scene.pages.requests.granted:
            yield from self._after(path)
        else:
            self.ledger.settle(path)

    def _may_be_full(self, scene: Scene) -> bool:
        """The host refused pages, or the heap is one that others filled and asks for none."""
        return bool(scene.pages.requests.refused or (scene.pages.room and scene.live))

    def _after(self, path: Path) -> Iterator[Path]:
        """Looks at the heap; hands on the states in which everything owed holds."""
        for side in (self.look or self._ask)(path):
            if self.ledger.settle(side):
                yield side

    def _ask(self, path: Path) -> Iterator[Path]:
        """Asks the allocator's own validity predicate, where there is one."""
        if "check" not in self.has:
            yield path
            return
        for outcome, answer in self._called(path, "allocheck_check", []):
            for valid, side in self._split(outcome, equal(answer, 0)):
                named = None if valid else self._names(answer)
                for rule in self.rules:
                    side.owe(rule, broken(rule), valid or named not in (rule, None))
                yield side

    def _names(self, answer) -> str | None:
        """The conjunct that the predicate names; None when it is none that is declared."""
        name = self.engine.name_at(answer)
        variable = self.engine.module.globals.get(name) if name else None
        return variable.text if variable and variable.text in self.rules else None

    def _owe_untouched(self, path: Path, blocks) -> None:
        for write in lasting_writes(path):
            for block in blocks:
                path.owe("content", WRITTEN, writes_apart(write, block))

    def _settle_zero(self, path: Path, payload, size) -> None:
        """Any one byte of the block reads zero, so all do."""
        probe, index = path.fork(), sizes.any_index(self.menu.most or self.host.limit)
        if self.engine.reasoning.assume(probe, less(index, size)):
            byte = self.engine.load(probe, simplify(payload + index), 1)
            self._settle_alone(probe, "zeroed", NOT_ZERO, equal(byte, 0))

    def _settle_kept(self, path: Path, block: Block, before: Memory, moved, size) -> None:
        """Any one byte of the old block below min(old, new) is where it belongs."""
        probe, index = path.fork(), sizes.any_index(self.menu.most or self.host.limit)
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

    def _split(self, path: Path, truth):
        return self.engine.reasoning.split(path, truth)
