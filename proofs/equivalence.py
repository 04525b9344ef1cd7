"""Whether two versions of an allocator do the same, operation by operation, on every valid heap.

Same means: the same result, errno and pages, the same live bytes, and the same words wherever the
walker looks; bytes that are nobody's may differ before and after.  So programs of any length
cannot tell the two apart, as far as the rooms of the walker reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import z3

from allocator.subject import Subject
from proofs import inductive_claims, infection, opaque
from proofs.calls import ALIGNMENTS, VERBS, Call, Calls
from proofs.claims import Ledger
from proofs.coverage import reachable
from proofs.engine import Engine, LoopLimit
from proofs.gaze import looked
from proofs.host import PAGE, errno_of
from proofs.induction import Induction, Room
from proofs.infection import Probed, Screen, begin
from proofs.ir import Module, Symbol
from proofs.logic import every, less, plain
from proofs.menu import Menu
from proofs.oddities import OddExploration
from proofs.path import Path, Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.remember import forget
from proofs.scenery import lasting_writes
from proofs.sight import term_of
from proofs.solver import FAILURES, PATIENT, Solver, Unknown
from proofs.study import within
from proofs.subjects import compiled
from proofs.terms import WORD, simplify, value_range
from proofs.walks import Shape, Walker, WalkError, flags_of, walker_of

EQUAL, DIFFERENT, UNDECIDED = "equivalent", "different", "undecided"
MOST_HEAPS = 12  # of a full room, where probes screen the calls: others are passed by


@dataclass(frozen=True)
class Comparison:
    """What became of the question.

    why    DIFFERENT: the operation and the heap in which they differ; UNDECIDED: what is missing;
           EQUAL: what was looked at
    heaps  how many valid heaps were looked at
    calls  how many calls from them came to an edit that makes a difference at its place, and were
           compared whole; None where each one was
    """

    word: str
    why: str
    heaps: int
    calls: int | None = None


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


def _have_the_same(one: Engine, other: Engine) -> None:
    """Raises WalkError unless both have the same variables at the same places.

    Constants are no part of a heap; there may be other strings where an assertion moved.
    """
    ours, theirs = (_places(each) for each in (one, other))
    if ours != theirs:
        raise WalkError("the two do not have the same variables at the same places")


def _places(engine: Engine) -> dict[str, int]:
    variables = engine.module.globals.values()
    return {each.name: engine.address_of(each.name) for each in variables if not each.constant}


_TROUBLE = (Unknown, LoopLimit, UnsupportedIr, WalkError, *FAILURES)


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
    like: Subject | None = None,
    probed: Probed | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Comparison:
    """Compares two subjects that have the walker of `one` in common; raises NoSubject.

    seconds  of CPU that it may take, 0 for any number
    like     whose heap walk and rooms they have, `one` for None
    probed   `one` with probes where `other` was edited: only those calls are compared in which the
             edit makes a difference at its place.  Among them is misuse that must be noticed, and
             from the first heap requests at every alignment.  The rooms are the quick ones, and the
             full ones that have few heaps.
    """
    walker = walker_of(like or one)
    if walker is None:
        return Comparison(UNDECIDED, f"{one.name} has no heap walker", 0)
    rooms = (
        inductive_claims.every_room(walker) if probed else inductive_claims.rooms_of(walker, quick)
    )
    forget()
    poll = within(seconds, progress)
    pair: _Pair | None = None
    try:
        solver = Solver(effort=effort, poll=poll)
        pair = _Pair(one, other, like or one, walker, rooms, kind, solver, progress, probed)
        pair.run()
    except _Differ as difference:
        word, why = DIFFERENT, str(difference)
    except _TROUBLE as error:
        word, why = UNDECIDED, str(error).splitlines()[0]
    else:
        word, why = EQUAL, _looked_at(one, walker, pair.looked, probed)
    found = pair.screen.found if pair and pair.screen else None
    return Comparison(word, why, pair.heaps if pair else 0, found)


def _looked_at(one: Subject, walker: Walker, rooms, probed: Probed | None) -> str:
    """What "the same" was asked of."""
    flags = " ".join(flags_of(walker))
    most = _most(walker, probed)
    asked = [
        f"sizes up to {most} and over PTRDIFF_MAX" if most else "every size",
        f"alignments {', '.join(map(str, ALIGNMENTS))}, 2^61 to 2^63, and 0, 24"
        + (" (all others from the first heap)" if probed else ""),
        "calloc of one piece, and of products that overflow",
        "NULL",
        *([f"misuse: {', '.join(_detects(one)) or 'none'}"] if probed else []),
        *([f"built with {flags}"] if flags else []),
    ]
    memory = ", or ".join(room.told() for room in rooms)
    return f"on every valid heap in {memory}: {'; '.join(asked)}"


def _detects(subject: Subject) -> Mapping[str, str]:
    """The misuse that is asked for: none where any checksum may be the right one."""
    return {} if opaque.is_opaque(subject) else subject.contract.detects


def _most(walker: Walker, probed: Probed | None) -> int:
    """The largest request below PTRDIFF_MAX, 0 for all, as where versions are compared whole."""
    return walker.told("MOST", 0) if probed else 0


class _Pair:
    """Both versions, on one solver."""

    def __init__(
        self,
        one,
        other,
        like,
        walker: Walker,
        rooms,
        kind: str,
        solver,
        progress,
        probed: Probed | None,
    ) -> None:
        self.heaps, self.progress, self.rooms = 0, progress, rooms
        self.looked: list[Room] = []
        self.always = inductive_claims.rooms_of(walker, quick=True)
        self.reasoning = Reasoning(solver)
        self.ledger = Ledger(self.reasoning, (), frozenset())
        self.walker = walker
        self.like = like
        self.first = self._induction(one, kind)
        self.second = self._induction(other, kind)
        self.differing = frozenset(_differing(self.first.engine.module, self.second.engine.module))
        self.most = _most(walker, probed)
        self.detects = _detects(one)
        # In smaller pages than the subject was written for there is no room for another row.
        small = walker.told("PAGE", PAGE) < PAGE
        self.gaps = one.contract.foreign and not small and any(room.rows for room in rooms)
        self.screen: Screen | None = None
        if probed is not None:
            self.screen = Screen(*(self._induction(each, kind) for each in probed))
        self.sides = (self.first, self.second, *(self.screen.sides if self.screen else ()))
        for side in self.sides[1:]:
            _have_the_same(self.first.engine, side.engine)

    def _induction(self, subject: Subject, kind: str) -> Induction:
        flags = flags_of(self.walker)
        module = compiled(subject, kind, flags=flags, like=self.like)
        host = inductive_claims.host_of(self.walker, self.rooms)
        hooks = {**host.hooks(), **opaque.hooks_of(self.like), **infection.HOOKS}
        engine = Engine(module, self.reasoning, host.guard, hooks)
        engine.concrete = opaque.concrete_of(self.like)
        menu = Menu((), 1)
        exploration = OddExploration(engine, self.ledger, menu, host, subject.contract, subject.has)
        return Induction(exploration, self.walker, self.rooms)

    def run(self) -> None:
        """Every operation from every heap; raises _Differ for the first difference."""
        begun = [each.begin() for each in (self.first, self.second)]
        if self.screen:
            self.screen.begin(self.differing)
        for room in self.rooms:
            for side in self.sides:
                side.limit_to(room)
            shapes = self.first.shapes(room)
            if self.screen and room not in self.always:
                shapes = tuple(islice(shapes, MOST_HEAPS + 1))
                if len(shapes) > MOST_HEAPS:
                    continue
            self.looked.append(room)
            for index, shape in enumerate(shapes):
                self.heaps += 1
                self.progress(f"heap {self.heaps} ({room.told()}): {shape.picture()}")
                for call in self._calls(shape, begun[0], not index and len(self.looked) == 1):
                    if self._matters(shape, call):
                        self._compare(shape, begun, call)
        if self.screen:
            self.screen.end()

    def _calls(self, shape: Shape, begun: Path, first: bool) -> Iterator[Call]:
        """The valid ones; with probes also misuse, others' memory in the way, all alignments."""
        live = self.first.state(shape, begun, _OURS).scene.live
        exploration = self.first.exploration
        calls = Calls(exploration.has, self.first.host.limit, self.most)
        yield from calls.of(live)
        if self.screen:
            yield from calls.misuse(shape, live, self.detects)
            yield from calls.behind_gaps(live) if self.gaps else ()
            yield from calls.aligned() if first else ()

    def _matters(self, shape: Shape, call: Call) -> bool:
        """Whether the two may differ in it."""
        if call.verb not in self.differing:
            return False
        return self.screen is None or self.screen.infected(shape, call, _OURS)

    def _compare(self, shape: Shape, begun: list[Path], call: Call) -> None:
        self.call = call
        start = begin(self.first, shape, begun[0], _OURS, call)
        for path, result in self._outcomes(self.first, start, call):
            mirror = begin(self.second, shape, begun[1], _THEIRS, call, path.conditions)
            for twin, answer in self._outcomes(self.second, mirror, call):
                asked, answered = (each.scene.pages.requests.answers for each in (path, twin))
                both = min(len(asked), len(answered))
                if asked[:both] != answered[:both]:
                    continue  # two different behaviours of the system
                where = f"{call.verb} in the heap {shape.picture()}"
                self._demand(twin, [asked == answered], f"{where}: other pages are asked for")
                if result is not None:
                    self._demand(twin, [result == answer], f"{where}: another result")
                self._same_world(path, twin, where)
                self._same_heap(path, twin, where, call.taken)
                if call.kept is not None:
                    self._same_bytes(path, twin.fork(), result, call.kept, where, result)

    def _outcomes(self, side: Induction, start: Path, call: Call):
        """The ways the call returns; of the second, one that does not return differs."""
        verb = call.verb
        outcomes = side.engine.call(start, f"allocheck_{verb}", list(call.arguments))
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
            told = ", ".join(_told(model.value(each)) for each in self.call.arguments)
            raise _Differ(f"{what}: {self.call.verb}({told})")

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
