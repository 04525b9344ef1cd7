"""CPU time of this process and all that it started; it limits nothing itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Spent(BaseException):
    """The budget is used up; not an Exception, so that no engine takes it for its own error."""


class Clock:
    """Seconds of CPU time since it was made, children and their children included."""

    def __init__(self, budget: float, read: Callable[[], float] | None = None) -> None:
        self.budget = budget
        self._read = read or (lambda: cpu_seconds(os.getpid()))
        self._started = self._read()

    @property
    def elapsed(self) -> float:
        """CPU seconds since the start."""
        return self._read() - self._started

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What is spent meanwhile does not count."""
        before = self._read()
        try:
            yield
        finally:
            self._started += self._read() - before

    def check(self) -> float:
        """CPU seconds since the start; raises Spent when they are more than the budget."""
        elapsed = self.elapsed
        if elapsed > self.budget:
            raise Spent
        return elapsed


def cpu_seconds(process: int) -> float:
    """CPU seconds of a process, of those it waited for, and of all below it; 0.0 if it is gone."""
    try:
        # After the name in parentheses, which may hold anything: state is field 3, utime 14.
        fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
        own = sum(map(int, fields[11:15])) / _TICKS
        threads = list((_PROC / str(process) / "task").iterdir())
        children = [word for thread in threads for word in _children(thread)]
    except (OSError, ValueError):
        return 0.0
    return own + sum(cpu_seconds(int(child)) for child in children)


def _children(thread: Path) -> list[str]:
    try:
        return (thread / "children").read_text().split()
    except OSError:
        return []
