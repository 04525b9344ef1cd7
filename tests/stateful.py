"""The reusable state machine: one call at a time, in lock step with reference heap and exact model.

It is no test by itself; machine_for() makes one for a subject.
"""

from __future__ import annotations

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
)

from fuzz.bench import Bench
from models.observation import Outcome, Run, Seen
from models.trace import NIL, Kind, Op, Trace
from tests import strategies
from tests.verdicts import RuleBroken, compare_layout

_SIZES = st.one_of(strategies.sizes([]), strategies.sizes([24, 100, 1000]), strategies.HUGE)


def _allowed(kind: Kind):
    return precondition(lambda machine: kind in machine.menu)


class AllocatorMachine(RuleBasedStateMachine):
    """A session with an allocator; `bench` holds the subject, machine_for() sets it."""

    bench: ClassVar[Bench]
    menu: ClassVar[frozenset[Kind]]

    blocks = Bundle("blocks")
    freed = Bundle("freed")

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.names = 0
        self.store = 0
        self.over = False

    @initialize(store=st.sampled_from(strategies.STORES))
    def open_heap(self, store: int) -> None:
        """Every session starts from an empty heap."""
        self.store = store
        self.bench.executor.begin(store, check="each")
        run = self.bench.executor.last_run()
        self.model = None
        if self.bench.predict:
            self.model = self.bench.predict(self.trace, run, self.bench.subject.contract)

    @rule(target=blocks, size=_SIZES)
    def malloc(self, size: int) -> int:
        """An allocation by size."""
        return self.make(Kind.MALLOC, size)

    @_allowed(Kind.CALLOC)
    @rule(target=blocks, pair=st.one_of(st.tuples(strategies.COUNTS, _SIZES), strategies.PRODUCTS))
    def calloc(self, pair: tuple[int, int]) -> int:
        """An allocation by count and size."""
        return self.make(Kind.CALLOC, *pair)

    @_allowed(Kind.ALIGNED_ALLOC)
    @rule(target=blocks, alignment=strategies.ALIGNMENTS, size=_SIZES)
    def aligned_alloc(self, alignment: int, size: int) -> int:
        """An allocation by alignment and size."""
        return self.make(Kind.ALIGNED_ALLOC, alignment, size)

    @_allowed(Kind.ALIGNED_ALLOC)
    @precondition(lambda machine: machine.bench.subject.contract.invalid_alignment)
    @rule(target=blocks, alignment=strategies.ODD_ALIGNMENTS, size=_SIZES)
    def oddly_aligned_alloc(self, alignment: int, size: int) -> int:
        """An alignment that is small, too large or none."""
        return self.make(Kind.ALIGNED_ALLOC, alignment, size)

    @_allowed(Kind.REALLOC)
    @rule(target=blocks, block=consumes(blocks), size=_SIZES)
    def realloc(self, block: int, size: int) -> object:
        """A change of size; the block stays where it is live when that is refused."""
        made = self.make(Kind.REALLOC, block, size)
        return multiple(block, made)

    @_allowed(Kind.REALLOC)
    @rule(target=blocks, size=_SIZES)
    def realloc_null(self, size: int) -> int:
        """realloc(NULL, n)."""
        return self.make(Kind.REALLOC, NIL, size)

    @_allowed(Kind.FREE)
    @rule(target=freed, block=consumes(blocks))
    def free(self, block: int) -> int:
        """The end of a block."""
        self.do(Op(Kind.FREE, first=block))
        return block

    @_allowed(Kind.FREE)
    @rule(target=blocks, size=_SIZES, length=strategies.ROW_LENGTHS, odd=st.booleans())
    def comb(self, size: int, length: int, odd: bool) -> object:
        """Equal blocks in a row; every other one goes, the rest are resized to what they have."""
        gone, stay = strategies.combed([self.make(Kind.MALLOC, size) for _ in range(length)], odd)
        for block in gone:
            self.do(Op(Kind.FREE, first=block))
        if not size or Kind.REALLOC not in self.menu:
            return multiple(*stay)
        return multiple(*stay, *[self.make(Kind.REALLOC, block, size) for block in stay])

    @_allowed(Kind.FREE)
    @rule()
    def free_null(self) -> None:
        """free(NULL)."""
        self.do(Op(Kind.FREE, first=NIL))

    @_allowed(Kind.FREE_ALL)
    @rule()
    def free_all(self) -> None:
        """The end of all blocks; their names stay in the bundle and are skipped from here on."""
        self.do(Op(Kind.FREE_ALL))

    @rule(block=blocks)
    def write(self, block: int) -> None:
        """A new pattern."""
        self.do(Op(Kind.WRITE, first=block))

    @rule(count=strategies.DENIALS)
    def deny(self, count: int) -> None:
        """Pages that will be refused."""
        self.do(Op(Kind.DENY, first=count))

    @_allowed(Kind.FOREIGN)
    @rule(size=strategies.MOVES)
    def foreign(self, size: int) -> None:
        """Somebody else moves the program break."""
        self.do(Op(Kind.FOREIGN, first=size))

    @_allowed(Kind.DOUBLE_FREE)
    @precondition(lambda machine: len(machine.ops) > 8)
    @rule(block=consumes(freed))
    def double_free(self, block: int) -> None:
        """Misuse; detected as promised, it ends the session."""
        self.do(Op(Kind.DOUBLE_FREE, first=block))

    @_allowed(Kind.REALLOC_FREED)
    @precondition(lambda machine: len(machine.ops) > 24)
    @rule(block=consumes(freed), size=strategies.STEPS)
    def realloc_freed(self, block: int, size: int) -> None:
        """Misuse too; late, because a session that ends early sees little."""
        self.do(Op(Kind.REALLOC_FREED, first=block, second=size))

    @property
    def trace(self) -> Trace:
        """What was done so far."""
        return Trace(tuple(self.ops), self.bench.subject.name, self.store)

    def make(self, kind: Kind, first: int, second: int = 0) -> int:
        """Executes an allocation under a new name; returns the name."""
        self.names += 1
        self.do(Op(kind, self.names - 1, first, second))
        return self.names - 1

    def do(self, op: Op) -> None:
        """Executes one operation and holds it against the heap and the model."""
        if self.over:
            return
        self.ops.append(op)
        seen = self.bench.executor.step(op)
        run = self.bench.executor.last_run()
        self.over = bool(seen.flags & Seen.LEFT) or run.outcome is not Outcome.FINISHED
        self.demand_ok(run)
        if self.model and not self.over:
            self.model.expected(op, seen)
            compare_layout(self.bench, self.trace, run, self.model.layout)

    def demand_ok(self, run: Run) -> None:
        """Raises RuleBroken if the run so far breaks a rule."""
        verdict = self.bench.judge(self.trace, run)
        if verdict.violation is not None:
            self.over = True
            raise RuleBroken(self.bench, self.trace, verdict.rule, verdict.violation.message)

    def teardown(self) -> None:
        """The check at the end: every live block holds what was written."""
        if not self.over and self.ops:
            self.demand_ok(self.bench.executor.end())


def machine_for(bench: Bench) -> type[AllocatorMachine]:
    """The state machine on the subject of `bench`."""
    members = {"bench": bench, "menu": frozenset(strategies.menu(bench.subject))}
    return type("Session", (AllocatorMachine,), members)
