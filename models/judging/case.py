"""A case: one run before the judge, what was learnt of it so far, and the violations found.

It holds and words things; what breaks a rule is decided in the modules beside it.
"""

from __future__ import annotations

from models.contract import Contract
from models.heap import Block, Heap
from models.observation import Observation, Run, Seen
from models.trace import NIL, Kind, Op, Trace
from models.verdict import Violation

# Plain integers: arithmetic on an IntFlag costs more than all the rest of a step.
SKIPPED = int(Seen.SKIPPED)
RETURNED = int(Seen.RETURNED)
REFUSED = int(Seen.REFUSED)
CAPPED = int(Seen.CAPPED)
OUTSIDE = int(Seen.OUTSIDE)
ERRNO = int(Seen.ERRNO)
PAGES = int(Seen.PAGES)
NO_PAGES = REFUSED | CAPPED

_PAGE = 4096
_NEAR = 2**40


class Case:
    """One run before the judge.

    `deny` is the deny in force (0 for none), `blurred` tells that what the heap holds is no
    longer certain, so that rules about what must be available again keep silent.
    """

    def __init__(self, trace: Trace, run: Run, contract: Contract, rules: frozenset[str]) -> None:
        self.trace = trace
        self.run = run
        self.contract = contract
        self.rules = rules
        self.heap = Heap()
        self.found: list[Violation] = []
        self.deny = 0
        self.denied = False
        self.refused = False
        self.foreign = False
        self.blurred = False
        self._origin: int | None = None

    def charge(self, op: int, *charges: tuple[str, str], blocks: tuple[int, ...] = ()) -> None:
        """Reports one event: the first of its (rule, message) pairs whose rule is switched on."""
        for rule, message in charges:
            if rule in self.rules:
                self.found.append(Violation(rule, op, f"{self.where(op)}: {message}", blocks))
                return

    @property
    def origin(self) -> int:
        """The address that messages tell offsets from: run.base, else the lowest page seen."""
        if self._origin is None:
            self._origin = origin(self.run)
        return self._origin

    def where(self, op: int) -> str:
        """The operation in words."""
        if op >= len(self.trace.ops):
            return "at the end"
        return f"op {op} ({self.trace.ops[op]})"

    def place(self, address: int) -> str:
        """An address as an offset from the origin; absolute when it is nowhere near."""
        return place(address, self.origin)

    def describe(self, block: Block) -> str:
        """A block in words: its name, size and place."""
        end = self.place(block.address + block.size)
        return f"p{block.name} ({block.size} bytes at {self.place(block.address)}..{end})"


def origin(run: Run) -> int:
    """run.base, or the page of the lowest block where that is unknown (0 if there is none)."""
    lowest = min((seen.address for seen in run.observations if seen.address), default=0)
    return run.base or lowest // _PAGE * _PAGE


def place(address: int, base: int) -> str:
    """An address in hexadecimal, as an offset from `base` where it is less than 1 TiB away."""
    distance = address - base
    if base and abs(distance) < _NEAR:
        return f"{'-' if distance < 0 else '+'}0x{abs(distance):x}"
    return f"0x{address:x}"


def is_null(op: Op) -> bool:
    """The block operand is NULL."""
    return op.block == NIL


def answer(op: Op, seen: Observation) -> int:
    """The address that an allocation gave, 0 for NULL; what posix_memalign stored counts only
    when it returned 0."""
    if op.kind is Kind.POSIX_MEMALIGN and seen.error:
        return 0
    return seen.address


def overflows(op: Op) -> bool:
    """The request is a calloc whose product does not fit size_t."""
    return op.size >= 2**64
