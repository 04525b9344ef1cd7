"""A simulated allocator and executor in pure Python: runs to judge without any C.

Correct by default and odd on request; the broken ones stand in tests/test_judge.py.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from models.contract import Contract
from models.observation import Damage, DamageKind, Observation, Outcome, Run, Seen, Stage
from models.trace import ALIGNING, ALLOCATING, DENY_ALL, NIL, NO_NAME, Kind, Op, Trace

BASE = 0x7F0000000000
STORE = 65536
PAGE = 4096
SIGSEGV = 11


class Ending(Exception):
    """The run ends here."""

    def __init__(self, outcome: Outcome, signal: int = 0, fault: int = 0, status: int = 0) -> None:
        super().__init__(outcome.name)
        self.outcome, self.signal, self.fault, self.status = outcome, signal, fault, status


class Host:
    """The store and its bytes; remembers what pages were asked for since `flags` was cleared."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.size, self.top, self.deny, self.flags = size, 0, 0, 0
        self.errno: int | None = None

    def grow(self, size: int) -> int | None:
        self.flags |= Seen.PAGES
        if self.deny:
            self.deny -= self.deny != DENY_ALL
            if self.deny in (0, DENY_ALL):
                self.flags |= Seen.REFUSED
                return None
        if self.top + size > self.size:
            self.flags |= Seen.CAPPED
            return None
        self.top += size
        return BASE + self.top - size

    def holds(self, address: int, size: int) -> bool:
        return address >= BASE and address + size <= BASE + self.top

    def write(self, address: int, data: bytes) -> None:
        if not self.holds(address, len(data)):
            raise Ending(Outcome.SIGNAL, SIGSEGV, address)
        self.bytes[address - BASE : address - BASE + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        if not self.holds(address, size):
            raise Ending(Outcome.SIGNAL, SIGSEGV, address)
        return bytes(self.bytes[address - BASE : address - BASE + size])


@dataclass(frozen=True)
class Odd:
    """Ways of being odd and correct; sizes in bytes.

    `zero` is what malloc(0) gives: a block ("unique"), NULL, or one address outside all memory.
    `lazy` merges free blocks only when a request fails, `moody` refuses every n-th request,
    `classes` rounds sizes up to powers of two, `budget` limits what is live at a time.
    """

    zero: str = "unique"
    align: int = 16
    lazy: bool = False
    moody: int = 0
    classes: bool = False
    budget: int = 2**63
    slack: int = 0


class Plain:
    """First fit with its books kept out of band, so that it owns no byte of the store."""

    def __init__(self, host: Host, odd: Odd = Odd()) -> None:
        self.host, self.odd = host, odd
        self.free_blocks: list[tuple[int, int]] = []
        self.used: dict[int, tuple[int, int]] = {}
        self.calls = 0

    def malloc(self, size: int) -> int:
        if not size and self.odd.zero != "unique":
            return 1 if self.odd.zero == "sentinel" else 0
        return self.place(size, self.odd.align)

    def place(self, size: int, alignment: int) -> int:
        self.calls += 1
        held = 0
        if self.odd.budget < STORE:
            held = sum(block for block, _ in self.used.values())
        moody = self.odd.moody and self.calls % self.odd.moody == 0
        need = self.block_size(size)
        if moody or size >= 2**40 or held + need > self.odd.budget:
            return self.fail()
        for attempt in ("as it is", "merged", "grown"):
            if attempt == "merged":
                self.merge()
            if attempt == "grown" and not self.grow(need + alignment):
                return self.fail()
            found = self.take(need, size, alignment)
            if found:
                return found
        return self.fail()

    def block_size(self, size: int) -> int:
        size = max(size + self.odd.slack, 1)
        if self.odd.classes:
            size = 1 << (size - 1).bit_length()
        return -(-size // self.odd.align) * self.odd.align

    def take(self, need: int, size: int, alignment: int) -> int:
        for index, (start, length) in enumerate(self.free_blocks):
            address = -(-start // alignment) * alignment
            if address + need <= start + length:
                rest = [(start, address - start), (address + need, start + length - address - need)]
                self.free_blocks[index : index + 1] = [piece for piece in rest if piece[1]]
                self.used[address] = (need, size)
                return address
        return 0

    def grow(self, size: int) -> bool:
        size = -(-size // PAGE) * PAGE
        start = self.host.grow(size)
        if start is not None:
            self.free_blocks.append((start, size))
            self.merge()
        return start is not None

    def merge(self) -> None:
        merged: list[tuple[int, int]] = []
        for start, length in sorted(self.free_blocks):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self.free_blocks = merged

    def fail(self) -> int:
        self.host.errno = errno.ENOMEM
        return 0

    def free(self, address: int) -> None:
        if not address or (address == 1 and self.odd.zero == "sentinel"):
            return
        if address not in self.used:
            raise Ending(Outcome.ABORT)
        self.free_blocks.append((address, self.used.pop(address)[0]))
        if not self.odd.lazy:
            self.merge()

    def calloc(self, count: int, size: int) -> int:
        if count * size >= 2**64:
            return self.fail()
        address = self.malloc(count * size)
        if address and count * size:
            self.host.write(address, bytes(count * size))
        return address

    def realloc(self, address: int, size: int) -> int:
        if not address:
            return self.malloc(size)
        if not size:
            return self.realloc_zero(address)
        fresh = self.malloc(size)
        if fresh:
            kept = min(size, self.used[address][1] if address in self.used else 0)
            self.host.write(fresh, self.host.read(address, kept) if kept else b"")
            self.free(address)
        return fresh

    def realloc_zero(self, address: int) -> int:
        self.free(address)
        return 0

    def aligned(self, kind: Kind, alignment: int, size: int) -> int:
        least = 8 if kind is Kind.POSIX_MEMALIGN else 1
        if alignment < least or alignment & (alignment - 1):
            self.host.errno = errno.EINVAL
            return 0
        if alignment > PAGE:
            return self.fail()
        return self.place(size, max(alignment, self.odd.align))

    def usable(self, address: int) -> int:
        return self.used[address][0] if address in self.used else 0

    def check(self) -> str:
        return ""


Make = Callable[[Host], Plain]


def pattern(name: int, size: int) -> bytes:
    return bytes((name * 37 + place * 11 + 129) % 251 + 1 for place in range(size))


def execute(trace: Trace, contract: Contract, make: Make = Plain, odd: Odd | None = None) -> Run:
    """What the real executor would show, as far as the rules look at it."""
    host = Host(trace.store or STORE)
    subject = make(host) if odd is None else make(host, odd)
    return _Execution(trace, contract, host, subject).run()


class _Execution:
    def __init__(self, trace: Trace, contract: Contract, host: Host, subject: Plain) -> None:
        self.trace, self.contract, self.host, self.subject = trace, contract, host, subject
        self.live: dict[int, tuple[int, int, bytes]] = {}
        self.freed: dict[int, int] = {}
        self.damages: dict[tuple, Damage] = {}
        self.invariant = ""
        self.stage = Stage.CALL
        self.seen = Observation()

    def run(self) -> Run:
        observations: list[Observation] = []
        ending = Ending(Outcome.FINISHED)
        try:
            for index, op in enumerate(self.trace):
                self.host.flags, self.host.errno = 0, None
                self.stage, self.seen = Stage.CALL, Observation()
                observations.append(self.step(index, op))
            self.stage = Stage.END
            for name in list(self.live):
                self.verify(len(self.trace), name)
        except Ending as early:
            ending = early
        done = len(observations)
        if done < len(self.trace):
            flags = self.seen.flags | self.host.flags | Seen.LEFT
            observations.append(Observation(self.seen.address, 0, self.host.top, 0, flags))
        return Run(
            tuple(observations),
            tuple(self.damages.values()),
            ending.outcome,
            done,
            self.stage,
            ending.signal,
            ending.fault,
            ending.status,
            store_base=BASE,
            invariant=self.invariant,
        )

    def step(self, index: int, op: Op) -> Observation:
        if op.block not in (None, NIL) and not self.can_use(op):
            return Observation(granted=self.host.top, flags=Seen.SKIPPED)
        if op.kind in ALLOCATING:
            seen = self.allocate(index, op)
        else:
            self.other(index, op)
            seen = self.observe()
        conjunct = self.subject.check()
        if conjunct and not self.invariant:
            self.invariant = conjunct
            self.note(DamageKind.INVARIANT, index, NO_NAME, 0, 0, 0)
        return seen

    def can_use(self, op: Op) -> bool:
        if op.kind is Kind.DOUBLE_FREE:
            return op.first in self.freed and "double_free" in self.contract.detects
        if op.kind is Kind.REALLOC and not op.second and self.contract.realloc_zero == "never":
            return False
        return op.first in self.live

    def observe(self, address: int = 0, usable: int = 0, flags: int = 0) -> Observation:
        flags |= self.host.flags | Seen.RETURNED
        flags |= Seen.ERRNO if self.host.errno is not None else 0
        return Observation(address, usable, self.host.top, self.host.errno or 0, flags)

    def allocate(self, index: int, op: Op) -> Observation:
        source = self.live.get(op.first) if op.kind is Kind.REALLOC else None
        if source:
            self.verify(index, op.first)
        address = self.call(op, source[0] if source else 0)
        if source and not address and op.size:
            self.verify(index, op.first, DamageKind.SURVIVAL)
        if source and (address or not op.size):
            self.freed[op.first] = self.live.pop(op.first)[0]
        if not address:
            return self.observe()
        self.freed.clear()
        usable = self.subject.usable(address) if op.size else 0
        outside = op.size and not self.host.holds(address, op.size)
        self.seen = self.observe(address, usable, Seen.OUTSIDE if outside else 0)
        self.stage = Stage.TOUCH
        if not outside:
            self.fill(index, op, address, source)
        else:
            self.live[op.name] = (address, 0, b"")
        return self.seen

    def call(self, op: Op, source: int) -> int:
        if op.kind is Kind.MALLOC:
            return self.subject.malloc(op.first)
        if op.kind is Kind.CALLOC:
            return self.subject.calloc(op.first, op.second)
        if op.kind is Kind.REALLOC:
            return self.subject.realloc(source, op.second)
        assert op.kind in ALIGNING
        return self.subject.aligned(op.kind, op.first, op.second)

    def fill(self, index: int, op: Op, address: int, source: tuple | None) -> None:
        found = self.host.read(address, op.size) if op.size else b""
        if op.kind is Kind.CALLOC:
            self.compare(DamageKind.ZEROED, index, op.name, found, bytes(op.size))
        if source:
            kept = source[2][: op.size]
            self.compare(DamageKind.PREFIX, index, op.name, found[: len(kept)], kept)
        data = pattern(op.name, op.size)
        if data:
            self.host.write(address, data)
        self.live[op.name] = (address, op.size, data)

    def other(self, index: int, op: Op) -> None:
        if op.kind is Kind.FREE_ALL:
            for name in sorted(self.live):
                self.release(index, name)
        elif op.kind is Kind.FREE and op.first == NIL:
            self.subject.free(0)
        elif op.kind is Kind.FREE:
            self.release(index, op.first)
        elif op.kind is Kind.DOUBLE_FREE:
            self.subject.free(self.freed[op.first])
        elif op.kind is Kind.DENY:
            self.host.deny = op.first
        elif op.kind is Kind.WRITE:
            self.verify(index, op.first)

    def release(self, index: int, name: int) -> None:
        self.verify(index, name)
        address = self.live.pop(name)[0]
        self.freed[name] = address
        self.subject.free(address)

    def verify(self, index: int, name: int, kind: DamageKind = DamageKind.CONTENT) -> None:
        address, size, data = self.live[name]
        stage, self.stage = self.stage, Stage.TOUCH if self.stage is Stage.CALL else self.stage
        if size:
            self.compare(kind, index, name, self.host.read(address, size), data)
        self.stage = stage

    def compare(self, kind: DamageKind, index: int, name: int, found: bytes, wanted: bytes) -> None:
        for offset, (seen, expected) in enumerate(zip(found, wanted, strict=True)):
            if seen != expected:
                self.note(kind, index, name, offset, expected, seen)
                return

    def note(
        self, kind: DamageKind, index: int, name: int, offset: int, expected: int, seen: int
    ) -> None:
        damage = Damage(offset, index, name, kind, expected, seen)
        self.damages.setdefault((kind, name), damage)
