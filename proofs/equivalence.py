"""Whether two versions of an allocator do the same, operation by operation, on every valid heap.

Same means: the same result, errno and pages, the same live bytes, and the same words wherever the
walker looks; bytes that are nobody's may differ before and after.  So programs of any length
cannot tell the two apart, as far as the rooms of the walker reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import z3

from allocator.subject import Subject
from proofs import inductive_claims, opaque
from proofs.claims import Ledger
from proofs.coverage import reachable
from proofs.engine import Engine, LoopLimit
from proofs.gaze import looked
from proofs.host import ERRNO, ERRNO_BYTES, errno_of
from proofs.induction import Induction
from proofs.ir import Module, Symbol
from proofs.logic import every, less, plain
from proofs.memory import Word
from proofs.menu import Menu
from proofs.oddities import MANY, TOO_MANY, OddExploration
from proofs.path import Path, Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.scenery import Step, lasting_writes, told
from proofs.sight import term_of
from proofs.solver import PATIENT, Solver, Unknown
from proofs.study import within
from proofs.subjects import compiled
from proofs.terms import WORD, number, simplify, value_range
from proofs.walks import Shape, Walker, WalkError

EQUAL, DIFFERENT, UNDECIDED = "equivalent", "different", "undecided"
ALIGNMENTS = (8, 32, 64)
HUGE = (2**61, 2**62, 2**63)  # no block is so aligned; NO_POWER: they must be refused
NO_POWER = (0, 24)


@dataclass(frozen=True)
class Comparison:
    """What became of the question.

    why    DIFFERENT: the operation and the heap in which they differ; UNDECIDED: what is missing;
           EQUAL: what was looked at
    heaps  how many valid heaps were looked at
    """

    word: str
    why: str
    heaps: int


VERBS = ("malloc", "calloc", "realloc", "aligned_alloc", "free", "usable_size")


def _differing(one: Module, other: Module) -> Iterator[str]:
    """The operations that need be compared: code that is the same does the same.

    What calloc makes of malloc is the same where its own code is, for malloc is compared.
    """
    named = {
        part.name for variable in one.globals.values() for _, part in variable.parts or ()
        if isinstance(part, Symbol)
    }  # fmt: skip
    whole = any(not _alike(one, other, name) for name in named)  # called through pointers
    served = set().union(*(_called(module, "allocheck_malloc") for module in (one, other)))
    for verb in VERBS:
        start, ends = [f"allocheck_{verb}"], served if verb == "calloc" else ()
        names = reachable(one, start, ends) | reachable(other, start, ends)
        if whole or not all(_alike(one, other, name) for name in names):
            yield verb


def _called(module: Module, name: str) -> set[str]:
    return reachable(module, [name]) & {
        instruction.detail
        for block in module.functions[name].blocks.values()
        for instruction in block.instructions
        if instruction.opcode == "call"
    }


def _alike(one: Module, other: Module, name: str) -> bool:
    """Whether both have the function, instruction by instruction; lines do not count."""
    texts = [
        [
            (block.name, each.opcode, each.result, each.width, each.operands, each.detail)
            for block in module.functions[name].blocks.values()
            for each in block.instructions
        ]
        if name in module.functions
        else None
        for module in (one, other)
    ]
    return texts[0] == texts[1]


class _Differ(Exception):
    """They differ: how, in one line."""


def compare(
    one: Subject,
    other: Subject,
    *,
    quick: bool = False,
    kind: str = "raw",
    effort: int = PATIENT,
    seconds: int = 0,
    progress: Callable[[str], None] = lambda _line: None,
) -> Comparison:
    """Compares two subjects that have the walker of `one` in common; raises NoSubject.

    seconds  of CPU that it may take, 0 for any number
    """
    walker = inductive_claims.walker_of(one)
    if walker is None:
        return Comparison(UNDECIDED, f"{one.name} has no heap walker", 0)
    rooms = inductive_claims.rooms_of(walker, quick)
    forget()
    poll = within(seconds, progress)
    pair: _Pair | None = None
    try:
        pair = _Pair(one, other, walker, rooms, kind, Solver(effort=effort, poll=poll), progress)
        pair.run()
    except _Differ as difference:
        return Comparison(DIFFERENT, str(difference), pair.heaps if pair else 0)
    except (Unknown, LoopLimit, UnsupportedIr, WalkError, z3.Z3Exception) as error:
        return Comparison(UNDECIDED, str(error).splitlines()[0], pair.heaps if pair else 0)
    return Comparison(EQUAL, _looked_at(walker, rooms), pair.heaps)


def _looked_at(walker: Walker, rooms) -> str:
    """What "the same" was asked of."""
    flags = " ".join(inductive_claims.flags_of(walker))
    powers = ", ".join(map(str, ALIGNMENTS))
    return (
        f"on every valid heap in {', or '.join(room.told() for room in rooms)}: every size; "
        f"alignments {powers}, 2^61 to 2^63, and {', '.join(map(str, NO_POWER))}; calloc of one "
        "piece, and of products that overflow; NULL" + (f"; built with {flags}" if flags else "")
    )


class _Pair:
    """Both versions, on one solver."""

    def __init__(self, one, other, walker: Walker, rooms, kind: str, solver, progress) -> None:
        self.heaps, self.progress, self.rooms = 0, progress, rooms
        self.reasoning = Reasoning(solver)
        self.ledger = Ledger(self.reasoning, (), frozenset())
        self.walker = walker
        self.one = one
        self.first = self._induction(one, kind)
        self.second = self._induction(other, kind)
        ours, theirs = (set(each.engine.module.globals) for each in (self.first, self.second))
        self.differing = frozenset(_differing(*(each.engine.module for each in self._sides)))
        if ours != theirs or any(
            self.first.engine.address_of(name) != self.second.engine.address_of(name)
            for name in ours
        ):
            raise WalkError("the two do not have the same functions and variables")

    @property
    def _sides(self) -> tuple[Induction, Induction]:
        return self.first, self.second

    def _induction(self, subject: Subject, kind: str) -> Induction:
        flags = inductive_claims.flags_of(self.walker)
        module = compiled(subject, kind, flags=flags, like=self.one)
        host = inductive_claims.host_of(self.walker, self.rooms)
        hooks = {**host.hooks(), **opaque.hooks_of(self.one)}
        engine = Engine(module, self.reasoning, host.guard, hooks)
        engine.concrete = opaque.concrete_of(self.one)
        menu = Menu((), 1)
        exploration = OddExploration(engine, self.ledger, menu, host, subject.contract, subject.has)
        return Induction(exploration, self.walker, self.rooms)

    def run(self) -> None:
        """Every operation from every heap; raises _Differ for the first difference."""
        begun = [each.begin() for each in (self.first, self.second)]
        for room in self.rooms:
            for side in (self.first, self.second):
                side.limit_to(room)
            for shape in self.first.shapes(room):
                self.heaps += 1
                self.progress(f"heap {self.heaps} ({room.told()}): {shape.picture()}")
                for call in self._calls(shape, begun[0]):
                    if call[0] in self.differing:
                        self._compare(shape, begun, *call)

    def _calls(self, shape: Shape, begun: Path) -> Iterator[tuple]:
        """(function, arguments, conditions, the number of the block it takes, bytes that stay).

        The last are upper ends, all of which an index must be below; None where there are none.
        """
        has = self.first.exploration.has
        bits = self.first.host.limit.bit_length()
        low = simplify(z3.ZeroExt(WORD - bits, z3.BitVec("size", bits)))
        wide = z3.BitVec("size.wide", WORD)
        live = self.first.state(shape, begun, _OURS).scene.live
        for size, premise in ((low, ()), (wide, (z3.UGE(wide, 1 << bits),))):
            yield "malloc", (size,), premise, None, None
            if "calloc" in has:
                yield "calloc", (number(1), size), premise, None, (size,)
            if "realloc" in has:
                yield "realloc", (number(0), size), premise, None, None
            if "aligned_alloc" in has:
                for alignment in ALIGNMENTS:
                    yield "aligned_alloc", (number(alignment), size), premise, None, None
            if "realloc" in has:
                for block in live:
                    kept = (size, block.size)
                    yield "realloc", (block.payload, size), premise, block.number, kept
        yield from self._odd_calls()
        for block in live:
            yield "free", (block.payload,), (), block.number, None
            if "usable_size" in has:
                yield "usable_size", (block.payload,), (), None, None

    def _odd_calls(self) -> Iterator[tuple]:
        """Those that no size makes."""
        size = z3.BitVec("size.odd", WORD)
        for alignment in (
            (*HUGE, *NO_POWER) if "aligned_alloc" in self.first.exploration.has else ()
        ):
            yield "aligned_alloc", (number(alignment), size), (), None, None
        if "calloc" in self.first.exploration.has:
            yield "calloc", (number(MANY), size), (z3.UGE(size, TOO_MANY),), None, None
        yield "free", (number(0),), (), None, None

    def _compare(self, shape: Shape, begun: list[Path], verb, arguments, premise, taken, kept):
        self.call = (verb, arguments)
        start = self._state(self.first, shape, begun[0], _OURS, verb, premise)
        for path, result in self._outcomes(self.first, start, verb, arguments):
            mirror = self._state(self.second, shape, begun[1], _THEIRS, verb, path.conditions)
            for twin, answer in self._outcomes(self.second, mirror, verb, arguments):
                asked, answered = (each.scene.pages.requests.answers for each in (path, twin))
                both = min(len(asked), len(answered))
                if asked[:both] != answered[:both]:
                    continue  # two different behaviours of the system
                where = f"{verb} in the heap {shape.picture()}"
                self._demand(twin, [asked == answered], f"{where}: other pages are asked for")
                if result is not None:
                    self._demand(twin, [result == answer], f"{where}: another result")
                self._same_world(path, twin, where)
                self._same_heap(path, twin, where, taken)
                if kept is not None:
                    self._same_bytes(path, twin.fork(), result, kept, where, result)

    def _state(self, side: Induction, shape, begun, dead: int, verb: str, conditions) -> Path:
        state = side.state(shape, begun, dead)
        state.conditions += tuple(conditions)
        state.memory = state.memory.after(Word(number(ERRNO), z3.BitVec("errno", 8 * ERRNO_BYTES)))
        return told(state, Step(verb))

    def _outcomes(self, side: Induction, start: Path, verb: str, arguments):
        """The ways the call returns; of the second, one that does not return differs."""
        outcomes = side.engine.call(start, f"allocheck_{verb}", list(arguments))
        ended, side.engine.ended[:] = list(side.engine.ended), []
        if side is self.second:
            for path in ended:
                if self.reasoning.model(path) is not None:
                    raise _Differ(f"{verb}: the second only: {path.owed[-1].what}")
            for path, _ in outcomes:
                self._demand(path, [one.condition for one in path.owed], f"{verb}: undefined")
        return outcomes

    def _demand(self, path: Path, truths, what: str) -> None:
        whole = every(*truths)
        model = None if plain(whole) is True else self.reasoning.counterexample(path, whole)
        if model is not None:
            verb, arguments = self.call
            told = ", ".join(_told(model.value(each)) for each in arguments)
            raise _Differ(f"{what}: {verb}({told})")

    def _same_world(self, path: Path, twin: Path, where: str) -> None:
        ours, theirs = path.scene.pages, twin.scene.pages
        same = [ours.top == theirs.top, ours.map_top == theirs.map_top]
        same.append(len(ours.maps) == len(theirs.maps))
        for one, other in zip(ours.maps, theirs.maps, strict=False):
            same += [one[0] == other[0], one[1] == other[1]]
        same.append(errno_of(self.first.engine, path) == errno_of(self.second.engine, twin))
        self._demand(twin, same, f"{where}: other pages, or another errno")

    def _same_heap(self, path: Path, twin: Path, where: str, taken) -> None:
        """The words that the walk looks at, and the bytes of the blocks that live on."""
        first = self.first
        seen = looked(
            self.walker, first.places, first.setting, first.engine, self.ledger.settle, path.fork()
        )
        for walked, gaze in seen:
            side = twin.fork()
            side.conditions = (*side.conditions, *walked.conditions[len(path.conditions) :])
            side.model = None
            if self.reasoning.model(side) is None:
                continue
            words = [
                (first.engine.load(walked, term_of(at), size), self._twin(side, term_of(at), size))
                for at, size in gaze.named
            ]
            self._demand(side, [one == other for one, other in words], f"{where}: another heap")
            for block in walked.scene.live:
                if block.number != taken:
                    self._same_bytes(walked, side, block.payload, (block.size,), where)

    def _twin(self, path: Path, address, size: int):
        return self.second.engine.load(path, address, size)

    def _same_bytes(self, path: Path, twin: Path, payload, ends, where: str, given=None):
        """Any one byte of a block is the same."""
        if given is None and not _touched((path, twin), payload, ends[0]):
            return
        width = self.first.host.limit.bit_length()
        index = z3.ZeroExt(WORD - width, self.reasoning.fresh("index", width))
        granted = () if given is None else (given != 0,)
        probe = twin.fork()
        if not self.reasoning.assume(probe, every(*(less(index, end) for end in ends), *granted)):
            return
        at = simplify(payload + index)
        # Whatever is known of the twin is known of both: else the byte may be any of all writes'.
        ours = path.fork()
        ours.conditions, ours.model = probe.conditions, probe.model
        mine = self.first.engine.load(ours, at, 1)
        self._demand(probe, [mine == self._twin(probe, at, 1)], f"{where}: other bytes")


_ADDRESS = 2**20
_OURS, _THEIRS = 1000, 5000  # what is nobody's holds unknown bytes, other ones in either


def _told(value: int) -> str:
    """An argument for people: what may be an address in the usual form of one."""
    return f"{value:#x}" if value >= _ADDRESS else str(value)


def _touched(paths, payload, size) -> bool:
    low, high = value_range(payload)[0], value_range(payload)[1] + value_range(size)[1]
    for path in paths:
        for write in lasting_writes(path):
            start, end = value_range(write.address)
            if start < high and end + value_range(write.length)[1] > low:
                return True
    return False
