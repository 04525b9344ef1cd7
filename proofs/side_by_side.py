"""Jobs in processes of their own, a few at a time, that send what they find as they find it.

It knows nothing of proofs.  A job that dies takes nobody with it.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

Job = TypeVar("Job")


@dataclass(frozen=True)
class Ended:
    """The last message of a job: `why` it did not get to its end, "" if it did."""

    why: str = ""


def side_by_side(
    jobs: Iterable[Job],
    work: Callable[[Job, Callable[[object], None]], None],
    workers: int,
    cpu_seconds: int = 0,
) -> Iterator[tuple[Job, object]]:
    """(job, message) as the messages come in, an Ended as the last of each job.

    work         called with the job and a function that sends a message, in another process
    cpu_seconds  after which a job is ended from outside; 0 for never
    """
    waiting = list(jobs)
    running: dict[Connection, tuple[Job, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                pipe, process = _started(waiting[0], work, cpu_seconds)
                running[pipe] = (waiting.pop(0), process)
            for pipe in wait(list(running)):
                job, process = running[pipe]  # type: ignore[index]
                try:
                    message = pipe.recv()  # type: ignore[union-attr]
                except EOFError:
                    process.join()
                    message = Ended(_why(process.exitcode, cpu_seconds))
                    del running[pipe]  # type: ignore[arg-type]
                yield job, message
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _started(job, work, cpu_seconds: int) -> tuple[Connection, BaseProcess]:
    # Forked: what the parent has compiled and read need not be read again.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(job, work, sender, cpu_seconds), daemon=True)
    process.start()
    sender.close()
    return receiver, process


def _run(job, work, sender: Connection, cpu_seconds: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    if cpu_seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    work(job, sender.send)


def _why(exitcode: int | None, cpu_seconds: int) -> str:
    if not exitcode:
        return ""
    if exitcode == -signal.SIGXCPU:
        return f"{cpu_seconds} s of CPU were not enough"
    return f"the process that looked at it ended with exit code {exitcode}"
