"""A child process, kept warm, that runs what a hostile subject might not survive.

It speaks harness/runner.c's protocol; what a run means, executor.py knows.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal as signals
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from allocator import build

RUN, BEGIN, STEP, END, WALK, SEARCH, ENUMERATE = range(1, 8)
_LIMITS_CAPACITY = 1024
_COMMAND = struct.Struct(f"<IIQQ{_LIMITS_CAPACITY}s")
_REPLY = struct.Struct("<Q")
_START_SECONDS = 20.0
_END_SECONDS = 5.0
LINE_CUT = 117  # the child's status when the subject has closed the line to us
# A look at the child; so many in a row that find it asleep, with no CPU time spent, are a sleeper.
_LOOK_SECONDS = 0.05
_WRITABLE = 2560 << 20  # bytes, for a process that is not the sandbox's; confine.c has the child's
# Room for libraries, allocators above all, that want their thread-local storage in the first block.
_TUNABLES = "glibc.rtld.optional_static_tls=65536"


def environment() -> dict[str, str]:
    """The environment for a process that is to load a subject."""
    given = os.environ.get("GLIBC_TUNABLES")
    return {**os.environ, "GLIBC_TUNABLES": f"{given}:{_TUNABLES}" if given else _TUNABLES}


def limit_memory() -> None:
    """Limits what a subject in this process may take: an allocation fails before the machine."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = _WRITABLE if hard == resource.RLIM_INFINITY else min(hard, _WRITABLE)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


class ChildDied(Exception):
    """The child is gone: `status` as subprocess tells it, None when killed for its silence, in
    which it may have been `asleep`."""

    def __init__(self, status: int | None, asleep: bool = False):
        super().__init__(f"the child ended with status {status}")
        self.status = status
        self.asleep = asleep


class ChildRefused(Exception):
    """The child could not load the subject; its sentence lies in the region."""


class Child:
    """A runner on one subject; `region` is the file descriptor of the shared memory."""

    def __init__(self, library: Path, region: int, decoder: Path | None = None):
        command_read, self._commands = os.pipe()
        self._replies, reply_write = os.pipe()
        words = [str(build.runner()), str(library), str(region), str(command_read)]
        words += [str(reply_write), *([str(decoder)] if decoder else [])]
        try:
            self._process = subprocess.Popen(
                words,
                pass_fds=(region, command_read, reply_write),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,  # a signal to its whole group is not for us
            )
        finally:
            os.close(command_read)
            os.close(reply_write)
        try:
            if not self._replies_within(_START_SECONDS):
                self._kill()
            ready = self._read_reply()
        except ChildDied:
            self.close()
            raise
        if not ready:
            self.close()
            raise ChildRefused

    def ask(
        self,
        kind: int,
        seconds: float,
        progress: Callable[[], object],
        *,
        asleep: float = 0,
        length: int = 0,
        seed: int = 0,
        count: int = 0,
        limits: bytes = b"",
    ) -> int:
        """Sends a command and waits for the reply, for as long as `progress` changes.

        ChildDied when the child ends, or is killed because nothing changed for `seconds`, or for
        `asleep` seconds in which it did not even want to run (0: `seconds` too).
        """
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, _COMMAND.pack(kind, length, seed, count, limits))
        rest = Rest(self.pid, progress)
        while not self._replies_within(_LOOK_SECONDS if asleep else seconds):
            still, slept = rest.look()
            if still >= seconds or (asleep and slept >= asleep):
                self._kill(slept >= asleep)
        return self._read_reply()

    def _replies_within(self, seconds: float) -> bool:
        return bool(select.select([self._replies], [], [], seconds)[0])

    def _kill(self, asleep: bool = False) -> NoReturn:
        end_group(self._process)
        raise ChildDied(None, asleep)

    def _read_reply(self) -> int:
        raw = os.read(self._replies, _REPLY.size)
        if len(raw) < _REPLY.size:
            raise ChildDied(self._status())
        return int(_REPLY.unpack(raw)[0])

    def _status(self) -> int | None:
        """How the child ended, None if it did not: it may have closed its line to us and sleep."""
        deadline = time.monotonic() + _END_SECONDS
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while not os.waitid(os.P_PID, self.pid, flags):
            if time.monotonic() > deadline:
                self._kill(asleep=True)
            time.sleep(0.001)
        end_group(self._process)
        return self._process.returncode

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def close(self) -> None:
        """Ends the child; harmless when it has ended."""
        for file in (self._commands, self._replies):
            with contextlib.suppress(OSError):
                os.close(file)
        self._commands = self._replies = -1
        end_group(self._process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kills a process that leads its group, with all whom it left there, unless it is reaped."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signals.SIGKILL)
        process.wait()


class Rest:
    """How long a process has shown no progress, and how long of that it has been asleep."""

    def __init__(self, pid: int, progress: Callable[[], object]) -> None:
        self._pid = pid
        self._progress = progress
        self._moved = self._awake = time.monotonic()
        self._before: object = progress()
        self._busy: object = None

    def look(self) -> tuple[float, float]:
        """Seconds without progress, and seconds of sleep among them."""
        now, progress = time.monotonic(), self._progress()
        if progress != self._before:
            self._before, self._moved = progress, now
        busy = _busy(self._pid)
        if busy is None or busy != self._busy:
            self._busy, self._awake = busy, now
        return now - self._moved, now - max(self._moved, self._awake)


def _busy(pid: int) -> int | None:
    """CPU time of a process that sleeps with all its threads and children, in clock ticks; None
    while one of them does not."""
    ticks = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "STt":
                return None
            ticks += int(fields[11]) + int(fields[12])
            for child in (task / "children").read_text().split():
                below = _busy(int(child))
                if below is None:
                    return None
                ticks += below
    except (OSError, IndexError):  # it is about to end, or there is no such file system
        return None
    return ticks
