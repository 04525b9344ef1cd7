"""A child process, kept warm, that runs what a hostile subject might not survive.

It speaks harness/runner.c's protocol; what a run means, executor.py knows.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from allocator import build

RUN, BEGIN, STEP, END, WALK, SEARCH = range(1, 7)
_LIMITS_CAPACITY = 1024
_COMMAND = struct.Struct(f"<IIQQ{_LIMITS_CAPACITY}s")
_REPLY = struct.Struct("<Q")
_START_SECONDS = 20.0
# Room for libraries, allocators above all, that want their thread-local storage in the first block.
_TUNABLES = "glibc.rtld.optional_static_tls=65536"


def environment() -> dict[str, str]:
    """The environment for a process that is to load a subject."""
    given = os.environ.get("GLIBC_TUNABLES")
    return {**os.environ, "GLIBC_TUNABLES": f"{given}:{_TUNABLES}" if given else _TUNABLES}


class ChildDied(Exception):
    """The child is gone: `status` as subprocess tells it, None when killed for its silence."""

    def __init__(self, status: int | None):
        super().__init__(f"the child ended with status {status}")
        self.status = status


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

    def ask(self, kind: int, seconds: float, progress: Callable[[], object], *, length: int = 0,
            seed: int = 0, count: int = 0, limits: bytes = b"") -> int:  # fmt: skip
        """Sends a command and waits for the reply, for as long as `progress` changes.

        ChildDied when the child ends, or is killed because nothing changed for `seconds`.
        """
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, _COMMAND.pack(kind, length, seed, count, limits))
        before = progress()
        while not self._replies_within(seconds):
            now = progress()
            if now == before:
                self._kill()
            before = now
        return self._read_reply()

    def _replies_within(self, seconds: float) -> bool:
        return bool(select.select([self._replies], [], [], seconds)[0])

    def _kill(self) -> NoReturn:
        self._process.kill()
        self._process.wait()
        raise ChildDied(None)

    def _read_reply(self) -> int:
        raw = os.read(self._replies, _REPLY.size)
        if len(raw) < _REPLY.size:
            raise ChildDied(self._process.wait())
        return int(_REPLY.unpack(raw)[0])

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
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
