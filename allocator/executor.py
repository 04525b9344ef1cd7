"""Runs traces on a subject, in this process or in the sandbox, with one interface.

It makes observations and judges nothing.
"""

from __future__ import annotations

import os
import signal as signals
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from allocator import build, sandbox
from allocator.binding import Door, LoadError, has_symbol, load_global
from allocator.region import (
    DEFAULT_STORE,
    PREBUILT_STORE,
    WALK_CAPACITY,
    Choice,
    Region,
    Tally,
    capacity_for,
)
from allocator.sandbox import Child, ChildDied, ChildRefused
from allocator.subject import Subject, SubjectError
from models.observation import Observation, Outcome, Run, Seen, Stage
from models.trace import Op, Trace

CPU_LIMIT_MS = 50
_LINE_CUT = (
    "it closes files that are not its own, the sandbox's line among them, and cannot be checked "
    "until it leaves them open"
)
_CAPACITY = 1 << 14
# A child that does nothing new for this long, beyond its CPU time limit, waits for something.
_SILENCE_SECONDS = 5.0
# ... and one that is asleep, and wants no CPU time at all, for so many times that limit.
_SLEEP_FACTOR, _SLEEP_SECONDS = 10, 0.3


def _region(subject: Subject, capacity: int, file: int = -1) -> Region:
    store = PREBUILT_STORE if subject.prebuilt else DEFAULT_STORE
    return Region(capacity, subject.contract, subject.memory_known, file, store, subject.forks)


class Executor:
    """A subject ready to run traces; a context manager.

    `region` holds the last trace and what it showed.  Not thread-safe.
    """

    def __init__(self, subject: Subject, decoder: Path | None = None, capacity: int = _CAPACITY):
        self.subject = subject
        self._decoder = decoder
        self._open(capacity)

    def _open(self, capacity: int) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _call(self, command: int, **operands: Any) -> int:
        """Carries out one command of sandbox.py; ends the run as the child's end says."""
        raise NotImplementedError

    def run(self, trace: Trace, *, check: str = "none", cpu_limit_ms: int = CPU_LIMIT_MS,
            walk: bool = False) -> Run:  # fmt: skip
        """Runs a whole trace from a restored subject.

        `check`: the subject's validity predicate is called "none" (never), at the "end", after
        "each" operation.  The CPU time limit is for one call of the subject.  `walk`: the run has
        the layout at its end, if nothing is known to be wrong with it.
        """
        self._make_room(capacity_for(trace))
        self.region.write_trace(trace, check, cpu_limit_ms)
        self._call(sandbox.RUN)
        run = self.last_run()
        return self.walked(run) if walk else run

    def race(self, trace: Trace, seed: int, rounds: int, *,
             cpu_limit_ms: int = CPU_LIMIT_MS) -> Run:  # fmt: skip
        """Runs a trace's threads freely, `rounds` times over or until something is suspicious.

        For a subject that forks: each run is a process of its own.  `granted` of an observation
        holds stamps: see race.h.
        """
        assert self.subject.forks, "threads that do not come back end their process"
        self._make_room(capacity_for(trace) + 1)
        self.region.write_trace(trace, "race", cpu_limit_ms)
        self.region.write_race(seed, rounds)
        self._call(sandbox.RUN)
        return self.last_run()

    def walked(self, run: Run) -> Run:
        """The last run with its layout: as it is where it was cut short, or something is wrong."""
        if run.outcome is not Outcome.FINISHED or run.damages:
            return run
        layout = self.layout()
        return run if len(layout) == WALK_CAPACITY else replace(run, layout=layout)

    def _make_room(self, capacity: int) -> None:
        if capacity > self.region.capacity:
            self._close()
            self._open(1 << (capacity - 1).bit_length())

    def search(self, seed: int, count: int, length: int, limits: bytes, *, check: str = "end",
               cpu_limit_ms: int = CPU_LIMIT_MS) -> int:  # fmt: skip
        """Runs random programs of `length` bytes from seeds seed, seed + 1, ... until one is
        suspicious (last_run().suspicious), `count` at most; returns how many were run."""
        self.region.write_request(0, 0, check, cpu_limit_ms)
        return self._call(sandbox.SEARCH, seed=seed, count=count, length=length, limits=limits)

    def enumerate(self, choices: Sequence[Choice], count: int, most: int, *, live: int = 0,
                  store: int = 0, check: str = "end", cpu_limit_ms: int = CPU_LIMIT_MS
                  ) -> Tally:  # fmt: skip
        """Tries `count` operations, breadth first on every heap that these choices lead to.

        Stops early at a suspicious run (last_run().suspicious), at `most` heaps, or when every heap
        is done.  Where `live` blocks live no other is asked for.  No choices: goes on with the
        enumeration under way.
        """
        self.region.write_request(0, store, check, cpu_limit_ms)
        told = [Choice(0, live), *choices] if choices else []
        self.region.write_choices(told)
        done = self._call(sandbox.ENUMERATE, length=len(told), count=count, seed=most)
        if not done and not getattr(self, "_death", None):
            raise SubjectError(f"{self.subject.name}: no memory to enumerate its heaps")
        return self.region.read_tally()

    def last_trace(self) -> Trace:
        """The trace that ran last."""
        return replace(self.region.read_trace(), subject=self.subject.name)

    def last_run(self) -> Run:
        """What it showed."""
        return self.region.read_run()

    def layout(self) -> tuple[tuple[int, int, int], ...]:
        """The subject's blocks as its own walk shows them: (address, size, used)."""
        count = self._call(sandbox.WALK, length=WALK_CAPACITY)
        return self.region.read_walk(min(count, WALK_CAPACITY))

    def begin(self, store: int = 0, check: str = "none", cpu_limit_ms: int = CPU_LIMIT_MS) -> None:
        """Restores the subject and starts a run that will be executed one operation at a time."""
        self.region.write_request(self.region.capacity, store, check, cpu_limit_ms)
        self._call(sandbox.BEGIN)

    def step(self, op: Op) -> Observation:
        """Executes one more operation; flag LEFT when the subject did not come back."""
        index = self.region.done
        if index >= self.region.capacity:
            raise ValueError(f"a session holds {self.region.capacity} operations at most")
        self.region.write_op(index, op)
        self._call(sandbox.STEP)
        return self.region.read_observation(index)

    def end(self) -> Run:
        """Ends a run of single steps: checks what lives."""
        done = self.region.done
        self._call(sandbox.END)
        return replace(self.last_run(), observations=self.last_run().observations[:done])

    def close(self) -> None:
        """Gives back what was opened; harmless when repeated."""
        self._close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InProcess(Executor):
    """Runs a subject in this process: fast, and only for code that does not scribble over us."""

    def _open(self, capacity: int) -> None:
        self.region = _region(self.subject, capacity)
        if self.subject.coverage and not has_symbol("__sanitizer_cov_8bit_counters_init"):
            load_global(str(build.coverage_stub()))
        try:
            self._door: Door | None = Door(self.subject.library, self.region.memory, self._decoder)
        except LoadError as error:
            raise SubjectError(f"{self.subject.name}: {error}") from None

    def _close(self) -> None:
        if self._door:
            self._door.close()
            self._door = None

    def _call(self, command: int, **operands: Any) -> int:
        door = self._door
        assert door, "the executor is closed"
        if command == sandbox.SEARCH:
            door.set_limits(operands["limits"])
            return door.search(*(operands[name] for name in ("seed", "count", "length")))
        if command == sandbox.WALK:
            return door.walk(self.region.walk_offset, WALK_CAPACITY)
        if command == sandbox.ENUMERATE:
            told = (operands[name] for name in ("length", "count", "seed"))
            return door.enumerate(self.region.walk_offset, *told)
        calls = {sandbox.RUN: door.run, sandbox.BEGIN: door.begin, sandbox.STEP: door.step}
        calls.get(command, door.end)()
        return 1

    def confine(self) -> None:
        """For a process that has no other subject and starts none: see Door.confine."""
        assert self._door
        self._door.confine()

    def set_limits(self, limits: bytes) -> None:
        """What the decoder may generate in run_bytes."""
        assert self._door
        self._door.set_limits(limits)

    def run_bytes(self, data: bytes) -> bool:
        """Decodes and runs one program (the hot path of coverage guidance): is it suspicious?"""
        assert self._door
        return self._door.run_bytes(data) != 0

    def drive(self, core: str, words: list[str]) -> int:
        """Runs libFuzzer's main loop with no Python between programs; its exit status."""
        assert self._door
        return self._door.drive(core, words)

    def state_counters(self, size: int) -> int:
        """Turns heap-state counters on: `size` of them, states.h's STATE_COUNT; their address."""
        assert self._door
        return self._door.count_states(size)

    def counters(self) -> tuple[bytes | None, bytes]:
        """C coverage counters (None: built without) and heap-state counters; both start anew."""
        assert self._door
        return self._door.counters()


class Sandboxed(Executor):
    """Runs a subject in a child process, which is started again when it dies."""

    def _open(self, capacity: int) -> None:
        self._file = os.memfd_create("allocheck-region")
        os.ftruncate(self._file, Region.size(capacity))
        subject = self.subject
        self.region = _region(subject, capacity, self._file)
        self._child: Child | None = self._start()

    def _start(self) -> Child:
        try:
            return Child(self.subject.library, self._file, self._decoder)
        except ChildRefused:
            self._file_close()
            raise SubjectError(f"{self.subject.name}: {self.region.read_text()}") from None
        except ChildDied as death:
            self._file_close()
            raise SubjectError(
                f"{self.subject.name}: the sandbox ended while loading it (status {death.status})"
            ) from None

    def _file_close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _close(self) -> None:
        if self._child:
            self._child.close()
            self._child = None
        self._file_close()

    def _call(self, command: int, **operands: Any) -> int:
        assert self._file >= 0, "the executor is closed"
        if not self._child:
            saved = bytes(self.region.memory[: self.region.walk_offset])
            self._child = self._start()
            self.region.restore(saved)
        self._death: ChildDied | None = None
        try:
            limit = self.region.cpu_limit_ms / 1000
            asleep = max(_SLEEP_SECONDS, _SLEEP_FACTOR * limit)
            progress = self.region.progress
            return self._child.ask(
                command, _SILENCE_SECONDS + limit, progress, asleep=asleep, **operands
            )
        except ChildDied as death:
            self._death = death
            self._child.close()
            self._child = None
            if death.status == sandbox.LINE_CUT:
                raise SubjectError(f"{self.subject.name}: {_LINE_CUT}") from None
            return 0

    def last_run(self) -> Run:
        """What the last trace showed; a child's death becomes the outcome of its run."""
        death = getattr(self, "_death", None)
        try:
            run = super().last_run()
        except (ValueError, OverflowError, struct.error):
            return self._scribbled(death)
        return _ended_by(run, death) if death else run

    def _scribbled(self, death: ChildDied | None) -> Run:
        """The subject has written over the shared memory: nothing that stands there is true."""
        if self._child:
            self._child.close()
            self._child = None
        done = min(self.region.done, self.region.capacity - 1)
        observations = (Observation(),) * (done + 1)
        run = Run(observations, outcome=Outcome.NONE, done=done, stage=Stage.CALL)
        return _ended_by(run, death or ChildDied(-signals.SIGKILL))


def _ended_by(run: Run, death: ChildDied) -> Run:
    """The run that a dead child left behind, completed with what its end says."""
    *before, last = run.observations or (Observation(),)
    observations = (*before, replace(last, flags=last.flags | Seen.LEFT))
    ended = replace(run, observations=observations, suspicious=True)
    if death.status is None:
        slept = signals.SIGKILL if death.asleep else 0
        return replace(ended, outcome=Outcome.HANG, signal=slept)
    if death.status >= 0:
        return replace(ended, outcome=Outcome.EXIT, exit_status=death.status)
    outcome = Outcome.ABORT if death.status == -signals.SIGABRT else Outcome.SIGNAL
    return replace(ended, outcome=outcome, signal=-death.status)


def open_executor(subject: Subject, sandbox: bool | None = None, decoder: Path | None = None,
                  capacity: int = _CAPACITY) -> Executor:  # fmt: skip
    """An executor on a subject: in the sandbox unless the subject is bundled, or as told.

    Raises SubjectError when the subject cannot be loaded.
    """
    in_sandbox = not subject.bundled if sandbox is None else sandbox
    return (Sandboxed if in_sandbox else InProcess)(subject, decoder, capacity)


def run_fresh(subject: Subject, trace: Trace, *, check: str = "none",
              cpu_limit_ms: int = CPU_LIMIT_MS, walk: bool = False) -> Run:  # fmt: skip
    """Runs one trace in a process of its own: what a finding must survive."""
    with Sandboxed(subject, None, max(64, capacity_for(trace))) as executor:
        return executor.run(trace, check=check, cpu_limit_ms=cpu_limit_ms, walk=walk)
