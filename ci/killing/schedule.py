"""Runs attempts in processes of their own, several at a time, each within a limit.

It says what came of each as it comes; which are to be made, plan.py and the command say.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ci.killing.attempt import ERROR, Attempt, Terms
from ci.killing.targets import Target

# Seconds for a face beyond its CPU time: compiling, shrinking, a machine that others use.
GRACE, SLOWEST = 180.0, 8.0
_LAST_WORDS = 3.0


@dataclass(frozen=True)
class Task:
    """An engine to be set on a target; `key` is the journal's."""

    key: str
    target: Target
    engine: str
    terms: Terms

    @property
    def seconds(self) -> float:
        """After so many it is given up."""
        return len(self.target.faces) * (GRACE + SLOWEST * self.terms.cpu_seconds)


@dataclass
class _Running:
    """A task under way."""

    task: Task
    process: Any
    results: Connection
    folder: tempfile.TemporaryDirectory[str]
    started: float = field(default_factory=time.monotonic)

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.started > self.task.seconds


def run(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Attempt]]:
    """Each task with what came of it, as they end; closing the iterator ends what still runs."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, not for each task; Hypothesis alone takes a second.
    context.set_forkserver_preload(["ci.killing.engines", "tests.hypothesis_search"])
    waiting, running = deque(tasks), []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(context, waiting.popleft()))
            wait([each.results for each in running], timeout=0.5)
            for each in list(running):
                attempt = _outcome(each)
                if attempt is not None:
                    running.remove(each)
                    _end(each)
                    yield each.task, attempt
    finally:
        for each in running:
            _end(each)


def _start(context: Any, task: Task) -> _Running:
    ours, theirs = context.Pipe(duplex=False)
    folder = tempfile.TemporaryDirectory(prefix="kill-", ignore_cleanup_errors=True)
    terms = replace(task.terms, folder=Path(folder.name))
    arguments = (theirs, task.engine, task.target.faces, terms)
    process = context.Process(target=_work, args=arguments)
    process.start()
    theirs.close()
    return _Running(task, process, ours, folder)


def _work(results: Connection, engine: str, faces: tuple[Path, ...], terms: Terms) -> None:
    """What a process does: one attempt, told at the end."""
    from ci.killing.engines import attempt

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # children are ended on the way out
    try:
        made = attempt(engine, faces, terms)
    except Exception as error:  # an error of ours is a row of the table, not its end
        first = f"{type(error).__name__}: {error}".splitlines()[0]
        made = Attempt(ERROR, message=f"internal error: {first}")
    results.send(made)
    results.close()


def _outcome(running: _Running) -> Attempt | None:
    """What the task came to, None while it runs."""
    if running.results.poll():
        try:
            return running.results.recv()  # type: ignore[no-any-return]
        except EOFError:
            running.process.join()
            return Attempt(ERROR, message=f"the engine ended, status {running.process.exitcode}")
    if running.overdue:
        return Attempt(ERROR, message=f"given up after {running.task.seconds:.0f} seconds")
    return None


def _end(running: _Running) -> None:
    process = running.process
    process.join(0.5)
    if process.is_alive():
        process.terminate()
        process.join(_LAST_WORDS)
    if process.is_alive():
        process.kill()
        process.join()
    running.results.close()
    with contextlib.suppress(OSError):
        running.folder.cleanup()
