"""Where stints are done: in processes on this machine, or on a Dask cluster.

Both hand out futures; what a stint is, stint.py knows.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from allocator.subject import SubjectError
from fuzz.stint import Outcome, Stint, run_stint

CONNECT_SECONDS, WORKER_SECONDS = 10, 30
START = "PYTHONPATH=. .venv/bin/dask worker"


class HandsLost(SubjectError):
    """Nobody is left to work; one line that says what to do."""


class Hands(Protocol):
    """Somebody to do stints.  `shared`: they work in the campaign's own folder."""

    shared: bool

    @property
    def count(self) -> int:
        """How many stints they do at once."""

    def submit(self, stint: Stint, stopped: threading.Event) -> Future[Outcome]:
        """Starts a stint; setting `stopped` ends it early where that is possible."""

    def close(self) -> None:
        """Lets them go."""


class LocalHands:
    """Processes on this machine."""

    shared = True

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count)

    @property
    def count(self) -> int:
        """As many as asked for."""
        return self._count

    def submit(self, stint: Stint, stopped: threading.Event) -> Future[Outcome]:
        """A process for the stint, and a thread that waits for it."""
        return self._pool.submit(run_stint, stint, stopped)

    def close(self) -> None:
        """All stints have ended by then."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class ClusterHands:
    """The workers of a Dask cluster, each in a checkout of this project.

    A stint on a worker that is lost is given to another one by the scheduler.
    """

    shared = False

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            raise HandsLost(
                "--cluster needs the package distributed: pip install --group cluster"
            ) from None
        self._address = address
        try:
            self._client: Any = distributed.Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise HandsLost(f"no scheduler at {address}: {_first_line(error)}") from None
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except (TimeoutError, OSError):
            self.close()
            raise HandsLost(
                f"no worker at {address}: start one in a checkout by `{START} {address}`"
            ) from None
        self._executor = self._client.get_executor(pure=False)

    @property
    def count(self) -> int:
        """The threads of all workers, which come and go."""
        try:
            return sum(self._client.nthreads().values())
        except (OSError, RuntimeError) as error:
            raise HandsLost(f"{self._address} is gone: {_first_line(error)}") from None

    def submit(self, stint: Stint, stopped: threading.Event) -> Future[Outcome]:
        """A task for the stint; once it runs it runs to its end."""
        return self._executor.submit(run_stint, stint)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Leaves the cluster; tasks that nobody waits for are dropped."""
        with contextlib.suppress(Exception):  # a cluster that is gone already
            self._client.close()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
