"""The memory shared with the executor, as values: writes traces into it, reads runs out of it.

It knows the layout of harness/layout.h and nothing of how the executor is called.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from typing import NamedTuple

from models.contract import Contract
from models.observation import (
    DAMAGE,
    DAMAGE_CAPACITY,
    HEADER,
    OBSERVATION,
    VERSION,
    Damage,
    DamageKind,
    Observation,
    Outcome,
    Run,
    Stage,
)
from models.trace import NIL, NO_NAME, OP_BYTES, Kind, Op, Trace, pack_ops, unpack_ops

REGION_HEADER = 512
WALK_CAPACITY = 1 << 14
DEFAULT_STORE, PREBUILT_STORE = 16 << 20, 256 << 20  # products take more before they start
CONFIG = struct.Struct("<QQQQII16B")
BLOCK, TALLY = struct.Struct("<QQQ"), struct.Struct("<5Q")
CHECKS = {"none": 0, "end": 1, "each": 2, "race": 4}

_MALLOC_ZERO = {"any": 0, "null": 1, "unique": 2}
_REALLOC_ZERO = {"never": 0, "free": 1, "unique": 2, "keep": 3}
_OP_COUNT, _STORE_SIZE = struct.Struct("<II"), struct.Struct("<QQ")
_RUNS = struct.Struct("<Q")
_RACE, _RACE_AT = struct.Struct("<QI"), 112
_OP_COUNT_AT, _STORE_AT, _DONE_AT, _RUNS_AT = 8, 16, 32, 104


def pack_config(
    contract: Contract, memory_known: bool, store: int = DEFAULT_STORE, forks: bool = False
) -> bytes:
    """`struct config`: what the executor must know of the contract."""
    return CONFIG.pack(
        contract.alignment,
        NIL if contract.max_size is None else contract.max_size,
        contract.arena,
        store,
        _MALLOC_ZERO[contract.malloc_zero],
        _REALLOC_ZERO[contract.realloc_zero],
        contract.free_null,
        contract.realloc_null,
        contract.refuses_over_ptrdiff,
        contract.enomem,
        contract.free_preserves_errno,
        contract.usable_writable,
        contract.coalesces,
        contract.foreign,
        contract.invalid_alignment,
        "double_free" in contract.detects,
        "interior_free" in contract.detects,
        memory_known,
        contract.gives_back,
        forks,
        contract.threads,
        "realloc_freed" in contract.detects,
    )


def capacity_for(trace: Trace) -> int:
    """How many operations a region must hold for this trace: names index a table of that size."""
    highest = max((op.name for op in trace.ops if op.name != NO_NAME), default=0)
    return max(len(trace), highest + 1)


class Choice(NamedTuple):
    """An operation to be tried on every heap; of a free or a resize, the block comes later."""

    kind: Kind | int
    first: int = 0
    second: int = 0


class Tally(NamedTuple):
    """How far an enumeration is: harness/enumerate.h.

    heaps       different ones met; `waiting` of them have not had every operation tried
    operations  tried; longest: operations of the longest program
    too_large   more memory was granted than is compared, so that nothing is known
    """

    heaps: int
    waiting: int
    operations: int
    too_large: int
    longest: int


class Region:
    """A region with room for `capacity` operations; `file` shares it with another process."""

    def __init__(
        self,
        capacity: int,
        contract: Contract,
        memory_known: bool,
        file: int = -1,
        store: int = DEFAULT_STORE,
        forks: bool = False,
    ):
        self.capacity = capacity
        self._observations_at = REGION_HEADER + capacity * OP_BYTES
        self._damages_at = self._observations_at + capacity * OBSERVATION.size
        self._walk_at = self._damages_at + DAMAGE_CAPACITY * DAMAGE.size
        self.memory = mmap.mmap(file, self.size(capacity))
        struct.pack_into("<II", self.memory, 0, VERSION, capacity)
        config = pack_config(contract, memory_known, store, forks)
        self.memory[HEADER.size : HEADER.size + len(config)] = config

    @staticmethod
    def size(capacity: int) -> int:
        """Bytes of a region for `capacity` operations."""
        records = capacity * (OP_BYTES + OBSERVATION.size) + DAMAGE_CAPACITY * DAMAGE.size
        return REGION_HEADER + records + WALK_CAPACITY * BLOCK.size

    def write_trace(self, trace: Trace, check: str, cpu_limit_ms: int) -> None:
        """Puts the whole trace in place; it must fit (capacity_for)."""
        records = pack_ops(trace.ops)
        self.memory[REGION_HEADER : REGION_HEADER + len(records)] = records
        self.write_request(len(trace), trace.store, check, cpu_limit_ms)

    def write_request(self, ops: int, store: int, check: str, cpu_limit_ms: int) -> None:
        """Sets what a run takes from the header: counts, switches, limits."""
        _OP_COUNT.pack_into(self.memory, _OP_COUNT_AT, ops, CHECKS[check])
        _STORE_SIZE.pack_into(self.memory, _STORE_AT, store, cpu_limit_ms)

    def write_race(self, seed: int, rounds: int) -> None:
        """Sets what else a run of free-running threads takes."""
        _RACE.pack_into(self.memory, _RACE_AT, seed % 2**64, rounds)

    @property
    def rounds(self) -> int:
        """Rounds that free-running threads finished."""
        return int(struct.unpack_from("<I", self.memory, _RACE_AT + _RACE.size)[0])

    def write_op(self, index: int, op: Op) -> None:
        """Puts one operation in place."""
        at = REGION_HEADER + index * OP_BYTES
        self.memory[at : at + OP_BYTES] = pack_ops((op,))

    def restore(self, saved: bytes) -> None:
        """Puts back what a new child overwrote."""
        self.memory[: len(saved)] = saved

    @property
    def cpu_limit_ms(self) -> int:
        """The limit of the run, in milliseconds of CPU time."""
        return int(_STORE_SIZE.unpack_from(self.memory, _STORE_AT)[1])

    def progress(self) -> tuple[int, int]:
        """Runs begun and operations finished: changes while the executor gets on."""
        return int(_RUNS.unpack_from(self.memory, _RUNS_AT)[0]), self.done

    @property
    def done(self) -> int:
        """Operations finished so far."""
        return int(struct.unpack_from("<I", self.memory, _DONE_AT)[0])

    def read_trace(self) -> Trace:
        """The trace in the region, as a search left it."""
        count = _OP_COUNT.unpack_from(self.memory, _OP_COUNT_AT)[0]
        store = _STORE_SIZE.unpack_from(self.memory, _STORE_AT)[0]
        records = self.memory[REGION_HEADER : REGION_HEADER + count * OP_BYTES]
        return Trace(unpack_ops(records), store=store)

    def read_observation(self, index: int) -> Observation:
        """One observation."""
        at = self._observations_at + index * OBSERVATION.size
        return Observation(*OBSERVATION.unpack_from(self.memory, at))

    def read_text(self) -> str:
        """The sentence that a child which could not start leaves where operations stand."""
        raw = self.memory[REGION_HEADER : REGION_HEADER + 1024]
        return raw.split(b"\0")[0].decode(errors="replace")

    def read_walk(self, count: int) -> tuple[tuple[int, int, int], ...]:
        """Blocks that a walk left: (address, size, used)."""
        raw = self.memory[self._walk_at : self._walk_at + count * BLOCK.size]
        return tuple(BLOCK.iter_unpack(raw))

    def write_choices(self, choices: Sequence[Choice]) -> None:
        """Puts them where a walk leaves its blocks."""
        raw = b"".join(BLOCK.pack(*choice) for choice in choices)
        self.memory[self._walk_at : self._walk_at + len(raw)] = raw

    def read_tally(self) -> Tally:
        """What an enumeration left in their place."""
        return Tally(*TALLY.unpack_from(self.memory, self._walk_at))

    @property
    def walk_offset(self) -> int:
        """Where the blocks of a walk lie in the region."""
        return self._walk_at

    def read_run(self) -> Run:
        """The run that has just ended, or was cut short."""
        (
            _version, _capacity, count, _switches, _store, _limit, done, stage, outcome, signal,
            fault, exit_status, damage_count, suspicious, known, store_base, maps_base,
            arena_base, arena_size, _runs, _seed, _asked, _rounds, invariant, assertion,
        ) = HEADER.unpack_from(self.memory, 0)  # fmt: skip
        seen = min(count, done + (outcome != Outcome.FINISHED))
        raw = self.memory[self._observations_at : self._observations_at + seen * OBSERVATION.size]
        return Run(
            tuple(Observation(*fields) for fields in OBSERVATION.iter_unpack(raw)),
            self._read_damages(min(damage_count, DAMAGE_CAPACITY)),
            Outcome(outcome),
            done,
            Stage(stage),
            signal,
            fault,
            exit_status,
            bool(suspicious),
            bool(known),
            store_base,
            maps_base,
            arena_base,
            arena_size,
            invariant.split(b"\0")[0].decode(errors="replace"),
            assertion.split(b"\0")[0].decode(errors="replace"),
        )

    def _read_damages(self, count: int) -> tuple[Damage, ...]:
        raw = self.memory[self._damages_at : self._damages_at + count * DAMAGE.size]
        return tuple(
            Damage(offset, op, name, DamageKind(kind), expected, seen)
            for offset, op, name, kind, expected, seen in DAMAGE.iter_unpack(raw)
        )
