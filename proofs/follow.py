"""Follows one trace on the IR, number by number, and has the project's judge look at the result.

It proves nothing: it is how this engine confirms what another one found.  Payloads are not
followed, so the rules that look at bytes (content, prefix, zeroed) stay silent here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import z3

from allocator.subject import Subject
from models.judge import judge
from models.observation import Damage, DamageKind, Observation, Outcome, Run, Seen, Stage
from models.trace import DENY_ALL, NIL, NO_NAME, Kind, Op, Trace
from models.verdict import Verdict
from proofs.glance import Glance, Unsound
from proofs.host import ARENA, ERRNO, Host
from proofs.memory import Word
from proofs.path import Obligation, Reasoning
from proofs.scenery import Scene, Step, make_engine, told
from proofs.solver import Solver
from proofs.subjects import compiled
from proofs.target import NATIVE, TARGET
from proofs.terms import constant_of, number
from proofs.walks import Walker, places_of, plain_walker_of

FUNCTIONS = {
    Kind.MALLOC: "allocheck_malloc",
    Kind.CALLOC: "allocheck_calloc",
    Kind.ALIGNED_ALLOC: "allocheck_aligned_alloc",
    Kind.REALLOC: "allocheck_realloc",
    Kind.FREE: "allocheck_free",
}
STORE = 1 << 24 if NATIVE else TARGET.plenty  # where no library is compared with, all there is
UNTOUCHED = 0x5EED
UNDEFINED = 0x5A5A_5A5A_5A5A_5A5A


class NotFollowed(Exception):
    """A trace with an operation that this engine does not know; the message names it."""


class Broken(Exception):
    """A condition that the engine owes does not hold for these numbers."""

    def __init__(self, obligation: Obligation) -> None:
        super().__init__(obligation.what)
        self.obligation = obligation


@dataclass(slots=True)
class _Denial:
    """What `deny` asks of the requests to come: the one refused, counted from 1; 0 for none."""

    next_refused: int = 0
    all_refused: bool = False

    def choose(self, outcomes: list) -> tuple:
        """Of the ways that a call can go, the one in which just the denied requests are refused."""
        chosen = min(outcomes, key=lambda outcome: self._strangeness(outcome[0].scene))
        requests = chosen[0].scene.pages.requests
        self.next_refused = max(0, self.next_refused - requests.granted - requests.refusals)
        return chosen

    def _strangeness(self, scene: Scene) -> tuple[int, int]:
        """Lowest for the way that the denial asks for: memory gone is refused in any case."""
        requests = scene.pages.requests
        if self.all_refused:
            return requests.granted, -requests.refusals
        if self.next_refused:
            return int(requests.refused != self.next_refused), requests.refusals
        return requests.refusals, 0


class _Numbers(Reasoning):
    """Any value will do for an undefined one, so it is a number like the rest."""

    def fresh(self, stem: str, width: int) -> z3.BitVecRef:
        return number(UNDEFINED, width) if stem == "undefined" else super().fresh(stem, width)


class Follower:
    """The engine on numbers: one operation at a time, from the empty heap."""

    def __init__(self, subject: Subject, store: int = STORE, kind: str = "raw") -> None:
        reasoning, module = _Numbers(Solver()), compiled(subject, kind, flags=())
        self.subject, self.host, self.walker = subject, Host(store), plain_walker_of(subject)
        self.engine = make_engine(module, reasoning, self.host)
        if self.walker:
            self.places = places_of(self.walker, module, self.engine.address_of)
        arena = subject.contract.arena
        self.path = self.host.started(self.engine, reasoning, Scene, arena)
        self.blocks: dict[int, tuple[int, int]] = {}
        self.denial = _Denial()
        if "allocheck_init" in self.engine.module.functions:
            self._call("allocheck_init", ARENA if arena else 0, arena)

    def _call(self, function: str, *arguments: int) -> int:
        told(self.path, Step(function))
        self.engine.ended.clear()
        outcomes = self.engine.call(self.path, function, [number(each) for each in arguments])
        self.path, result = self.denial.choose(
            outcomes + [(path, None) for path in self.engine.ended]
        )
        self._pay()
        return 0 if result is None else int(constant_of(result) or 0)

    def _pay(self) -> None:
        """Looks at what is owed; on numbers each condition is plainly true or false."""
        for obligation in self.path.owed:
            if not z3.is_true(z3.simplify(obligation.condition)):
                raise Broken(obligation)
        self.path.owed = ()

    def look(self) -> None:
        """Looks at the whole heap; raises Broken at the first conjunct that does not hold."""
        if self.walker:
            self._walk(self.walker)
        elif "check" in self.subject.has:
            answer = self._call("allocheck_check")
            name = self.engine.name_at(number(answer)) if answer else None
            variable = self.engine.module.globals.get(name) if name else None
            if variable:
                raise Broken(Obligation(variable.text or "", "", z3.BoolVal(False)))

    def _walk(self, walker: Walker) -> None:
        pages = self.path.scene.pages
        rows, maps = (
            tuple((constant_of(at), constant_of(size)) for at, size in pieces)
            for pieces in (pages.pieces, pages.maps)
        )
        try:
            walker.walk(Glance(self.places, self.read, rows, maps, read=self.read))
        except Unsound as unsound:
            raise Broken(Obligation(unsound.rule, str(unsound), z3.BoolVal(False))) from None

    def read(self, address: int, size: int) -> int:
        """The number in the memory as it is; an undefined byte has some value."""
        return int(constant_of(self.engine.load(self.path, number(address), size)) or 0)

    def step(self, op: Op) -> Observation:
        """Executes one operation; raises Broken where the code must not be followed further."""
        if op.kind is Kind.DENY:
            self.denial = _Denial(0 if op.first == DENY_ALL else op.first, op.first == DENY_ALL)
            return Observation(flags=Seen.RETURNED)
        if op.kind is Kind.FREE_ALL:
            for name in sorted(self.blocks):
                self._free(name)
            return Observation(flags=Seen.RETURNED)
        if op.kind not in FUNCTIONS:
            raise NotFollowed(f"{op.kind.name.lower()} cannot be followed on the IR")
        if op.block not in (None, NIL) and op.block not in self.blocks:
            return Observation(flags=Seen.SKIPPED)
        return self._free(op.first) if op.kind is Kind.FREE else self._allocate(op)

    def _free(self, name: int) -> Observation:
        self._call("allocheck_free", self.blocks.pop(name, (0, 0))[0])
        return Observation(flags=Seen.RETURNED)

    def _allocate(self, op: Op) -> Observation:
        operands = [op.first] if op.kind is Kind.MALLOC else [op.first, op.second]
        if op.kind is Kind.REALLOC:
            operands[0] = self.blocks.get(op.first, (0, 0))[0]
        self._write_errno(UNTOUCHED)
        denied = self.denial.all_refused or self.denial.next_refused
        address = self._call(FUNCTIONS[op.kind], *operands)
        if address:
            if op.kind is Kind.REALLOC:
                self.blocks.pop(op.first, None)
            self.blocks[op.name] = (address, op.size)
        error = int(constant_of(self.engine.load(self.path, number(ERRNO), 4)) or 0)
        flags = Seen.RETURNED | (Seen.ERRNO if error != UNTOUCHED else 0)
        requests = self.path.scene.pages.requests
        if requests.refused:
            flags |= Seen.PAGES | (Seen.REFUSED if denied else Seen.CAPPED)
        elif requests.granted:
            flags |= Seen.PAGES
        if address and op.size and not self._inside(address, op.size):
            flags |= Seen.OUTSIDE
        return Observation(address, 0, 0, error if flags & Seen.ERRNO else 0, flags)

    def _write_errno(self, value: int) -> None:
        cell = Word(number(ERRNO), z3.BitVecVal(value, 32))
        self.path.memory = self.path.memory.after(cell)

    def _inside(self, address: int, size: int) -> bool:
        pieces = [
            (constant_of(at), constant_of(length)) for at, length in self.path.scene.pages.all
        ]
        return any(at <= address and address + size <= at + length for at, length in pieces)


def follow(trace: Trace, subject: Subject) -> Verdict:
    """The judge's verdict on the addresses and the layout that the IR gives; NotFollowed."""
    contract = subject.contract
    follower = Follower(subject, trace.store or STORE)
    seen: list[Observation] = []
    for index, op in enumerate(trace):
        try:
            seen.append(follower.step(op))
        except Broken as broken:
            return judge(trace, _cut_short(seen, broken), contract)
        try:
            follower.look()
        except Broken as broken:
            damage = Damage(0, index, NO_NAME, DamageKind.INVARIANT)
            run = _run(seen, damages=(damage,), invariant=broken.obligation.family)
            return judge(trace.with_ops(trace.ops[: index + 1]), run, contract)
    return judge(trace, _run(seen), contract)


def _run(seen: list[Observation], **more: object) -> Run:
    base = Host(0).base
    return Run(tuple(seen), done=len(seen), store_base=base, **more)  # type: ignore[arg-type]


def _cut_short(seen: list[Observation], broken: Broken) -> Run:
    """What the machine would call a crash, or an abort, of the operation under way."""
    outcome = Outcome.ABORT if broken.obligation.family == "abort" else Outcome.SIGNAL
    under_way = Observation(flags=Seen.LEFT)
    return replace(_run(seen), observations=(*seen, under_way), outcome=outcome, stage=Stage.CALL)
