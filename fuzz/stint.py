"""A stint: a part of a campaign that one worker does in a process of its own, here or elsewhere.

It decides nothing that lasts: what it finds, crew.py confirms again.  As a program it reads a
pickled Stint from standard input, writes an Outcome as JSON, and gives up early, with what it
has, when standard input is closed.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not fuzz/: its files must not stand in for anybody's modules

from allocator import ctrl_c
from fuzz.campaign import Campaign
from fuzz.corpus import Corpus
from fuzz.findings import subject_folder
from fuzz.ledger import FINDING, Ledger
from fuzz.options import Options
from fuzz.results import Report, Result
from models.trace import to_text

POLL_SECONDS, LAST_WORDS_SECONDS = 0.1, 15.0
GRACE_SECONDS = 1800.0  # for a stint that counts executions; more than any should take


class StintDied(Exception):
    """The process ended without an outcome: its exit status and its last words."""


@dataclass(frozen=True)
class Stint:
    """What a worker is to do: a campaign with a small budget.

    Without a `corpus` it works in the folder `options.out`, beside others, and writes findings to
    the ledger there; with one, the texts of traces, in a folder of its own.
    """

    spec: str
    number: int
    options: Options
    corpus: tuple[str, ...] | None = None


@dataclass
class Outcome:
    """What came of a stint; `findings` and `corpus` are texts of traces."""

    number: int
    executions: int = 0
    ops: int = 0
    raced: int = 0
    edges: int | None = None
    states: int = 0
    policy: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    error: str | None = None
    findings: list[str] = field(default_factory=list)
    corpus: list[str] = field(default_factory=list)


def run_stint(stint: Stint, stopped: threading.Event | None = None) -> Outcome:
    """Runs a stint in a new process; `stopped` ends it early.  Raises StintDied."""
    stopped = stopped or threading.Event()
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=words,
            start_new_session=True,  # Ctrl-C is the parent's to answer
        )
        try:
            _hand_over(process, stint)
            _await(process, stint, stopped)
        finally:
            process.kill()
            process.wait()
        told.seek(0)
        return _outcome(told.read(), process.returncode, _last_line(words))


def _hand_over(process: subprocess.Popen[bytes], stint: Stint) -> None:
    assert process.stdin
    with suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(stint))
        process.stdin.flush()  # and not closed: that is the sign to give up


def _await(process: subprocess.Popen[bytes], stint: Stint, stopped: threading.Event) -> None:
    deadline = time.monotonic() + 3 * stint.options.seconds + GRACE_SECONDS
    while process.poll() is None and time.monotonic() < deadline and not stopped.is_set():
        stopped.wait(POLL_SECONDS)
    assert process.stdin
    with suppress(BrokenPipeError):
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_WORDS_SECONDS)


def _outcome(told: bytes, status: int, words: str) -> Outcome:
    try:
        return Outcome(**json.loads(told))
    except (ValueError, TypeError):
        raise StintDied(f"status {status}" + (f": {words}" if words else "")) from None


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


# ---- in the process ----


def work(stint: Stint) -> Outcome:
    """Does the stint here; KeyboardInterrupt ends it early and is no error."""
    if stint.corpus is None:
        ledger = Ledger(stint.options.out)

        def note(report: Report) -> None:
            ledger.add(FINDING, subject=stint.spec, trace=to_text(report.finding.trace))

        campaign = Campaign(stint.spec, stint.options, note=note)
        return _outcome_of(_run(campaign), stint)
    with tempfile.TemporaryDirectory(prefix="stint-") as folder:
        options = replace(stint.options, out=Path(folder), part="", brief=True)
        corpus = Corpus(subject_folder(options.out, stint.spec) / "corpus", b"")
        known = frozenset(corpus.take(stint.corpus))
        outcome = _outcome_of(_run(Campaign(stint.spec, options)), stint)
        outcome.corpus = [text for name, text in corpus.texts().items() if name not in known]
        return outcome


def _run(campaign: Campaign) -> Result:
    with suppress(KeyboardInterrupt):
        campaign.run()
    return campaign.result


def _outcome_of(result: Result, stint: Stint) -> Outcome:
    names = (
        "executions",
        "ops",
        "raced",
        "edges",
        "states",
        "policy",
        "notes",
        "vanished",
        "error",
    )
    fields = {name: getattr(result, name) for name in names}
    found = [to_text(report.finding.trace) for report in result.reports]
    return Outcome(stint.number, **fields, findings=found)


def _give_up_when_left() -> None:
    """Interrupts the main thread once nobody holds the other end of standard input."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Reads the stint, does it, tells the outcome."""
    stint = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_give_up_when_left, daemon=True).start()
    outcome = work(stint)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.write(json.dumps(asdict(outcome)))
    sys.stdout.flush()
    os._exit(0)  # the thread that reads must not hold the end up


if __name__ == "__main__":
    ctrl_c.insist()
    main()
