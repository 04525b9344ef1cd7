"""A campaign on a Dask cluster of this machine: a scheduler, two workers, one of them killed.

It needs the package distributed, which the dependency group `test` has; nothing leaves the machine.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fuzz.corpus import Corpus, program_in
from fuzz.crew import Crew
from fuzz.hands import ClusterHands, HandsLost
from fuzz.ledger import BEGIN, STINT, Ledger
from fuzz.options import Options
from models.trace import from_text

pytest.importorskip("distributed", reason="--cluster needs it: pip install --group cluster")

ROOT = Path(__file__).resolve().parent.parent
BUG = "explicit_list+bugs/copies-too-little"


def start(folder: Path, *words: object) -> subprocess.Popen[bytes]:
    """A process of `dask`, with the checkout on its path and a folder for its files."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / f"{words[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, words)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A scheduler and two workers of one thread each."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        dark = ("--no-dashboard", "--host", "127.0.0.1")
        self.scheduler = start(folder, "scheduler", *dark, "--port", port)
        told = ("--nthreads", 1, "--no-nanny", *dark)
        self.workers = [start(folder, "worker", self.address, *told) for _ in range(2)]

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    opened = Cluster(tmp_path_factory.mktemp("dask"))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a scheduler takes its time to start."""
    monkeypatch.setattr("fuzz.hands.CONNECT_SECONDS", 120)


def wait_for_two(hands: ClusterHands) -> None:
    deadline = time.monotonic() + 60
    while hands.count < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert hands.count == 2


def test_a_lost_worker_costs_nothing(cluster, tmp_path, monkeypatch):
    """Killed once the first stint has come home: the other worker does all that is left."""
    monkeypatch.setattr("fuzz.crew.STINT_RUNS", 100)
    hands = ClusterHands(cluster.address)
    wait_for_two(hands)
    ledger = Ledger(tmp_path)
    ledger.add(BEGIN)
    options = Options(runs=400, out=tmp_path, saved=Path("nothing"), cycles=False, brief=True)
    killed: list[int] = []

    def kill_one(_text: str) -> None:
        if ledger.of(STINT, "explicit_list") and not killed:
            cluster.workers[0].send_signal(signal.SIGKILL)
            killed.append(cluster.workers[0].pid)

    result = Crew("explicit_list", options, kill_one, hands=hands, ledger=ledger).run()
    assert killed
    assert result.line().startswith("explicit_list: ok ("), result.line()
    done = {event["outcome"]["number"] for event in ledger.of(STINT, "explicit_list")}
    assert done == set(range(4))
    texts = Corpus(tmp_path / "explicit_list" / "corpus", b"").texts()
    assert texts, "new coverage came home"
    assert all(program_in(text) for text in texts.values())

    found = tmp_path / "bug"
    Ledger(found).add(BEGIN)
    options = Options(runs=100, out=found, saved=Path("nothing"), guided=False)
    result = Crew(BUG, options, hands=hands, ledger=Ledger(found)).run()
    assert result.verdict == "violation"
    report = result.reports[0]
    assert report.trace_file.is_file(), "findings came home"
    assert from_text(report.trace_file.read_text()).expect == report.finding.rule
    hands.close()


def test_a_cluster_without_workers_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz.hands.WORKER_SECONDS", 1)
    port = free_port()
    scheduler = start(tmp_path, "scheduler", "--no-dashboard", "--port", port)
    try:
        with pytest.raises(HandsLost, match=r"no worker at .*start one in a checkout"):
            ClusterHands(f"tcp://127.0.0.1:{port}")
    finally:
        scheduler.kill()
        scheduler.wait()
