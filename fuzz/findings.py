"""Writes what is left of a finding: its trace, a stand-alone C program, a pytest case.

It judges nothing; a file that is there already under the same name says the same.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from allocator.subject import Subject
from fuzz.bench import Bench
from fuzz.reproducer import reproducer
from fuzz.results import Report
from models.check import Finding
from models.contract import has_no_description
from models.trace import Trace, pack_ops, to_text

_TEST = '''\
"""{subject} breaks `{rule}`: {message}."""

from allocator.catalogue import resolve
from allocator.executor import run_fresh
from models.judge import judge
from models.trace import from_text

TRACE = """\\
{trace}"""


def test_{rule}_{digest}():
    subject = resolve({subject!r}{prefix})
    trace = from_text(TRACE)
    verdict = judge(trace, run_fresh(subject, trace, check="each"), subject.contract)
    assert verdict.ok, verdict.violation.message
'''


_RACE_TEST = '''\
"""{subject} breaks `{rule}`: {message}."""

from allocator.catalogue import resolve
from fuzz.bench import Bench
from models.trace import from_text

TRACE = """\\
{trace}"""


def test_{rule}_{digest}():
    subject, noisy = (resolve({subject!r}, noise=noise{prefix}) for noise in (False, True))
    with Bench(subject, noisy=noisy) as bench:
        finding = bench.check_race(from_text(TRACE), budget=0)
    assert finding is None, finding.message
'''


def subject_folder(out: Path, name: str) -> Path:
    """Where the files about a subject go: its name, fit for a file system."""
    safe = "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in name)
    return out / (safe.strip("._") or "subject")


def write_whole(path: Path, text: str) -> None:
    """Writes a file, or nothing where the disk is full."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write(finding: Finding, subject: Subject, out: Path, prefix: str | None = None) -> Report:
    """Writes the files of a finding into the subject's folder under `out`."""
    folder = subject_folder(out, subject.name)
    folder.mkdir(parents=True, exist_ok=True)
    content = pack_ops(finding.trace.ops) + finding.trace.store.to_bytes(8, "little")
    digest = hashlib.sha256(content).hexdigest()[:8]
    stem = f"{finding.rule}-{digest}"
    trace_file = folder / f"{stem}.trace"
    write_whole(trace_file, to_text(finding.trace))
    source = reproducer(finding, subject, f"{stem}.c")
    if source is not None:
        write_whole(folder / f"{stem}.c", source)
    test_file = folder / f"test_{finding.rule}_{digest}.py"
    write_whole(test_file, _test(finding, subject, digest, prefix))
    return Report(
        finding, subject.contract, trace_file, folder / f"{stem}.c" if source else None, test_file
    )


def recall(trace: Trace, bench: Bench, out: Path, prefix: str | None = None) -> Report | None:
    """A finding from its trace, confirmed anew; None where no rule is broken any more."""
    check = bench.check_race if trace.free_running else bench.check
    finding = check(trace, budget=0)
    return write(finding, bench.subject, out, prefix) if finding else None


def _words(subject: Subject, prefix: str | None) -> str:
    """What resolve() is told beside the name."""
    told = f", prefix={prefix!r}" if prefix else ""
    promised = subject.contract.threads and has_no_description(subject.name)
    return told + (", threads=True" if promised else "")


def _test(finding: Finding, subject: Subject, digest: str, prefix: str | None) -> str:
    return (_RACE_TEST if finding.shown else _TEST).format(
        subject=subject.name,
        rule=finding.rule,
        message=finding.message.replace("\\", "\\\\").replace('"', "'"),
        trace=to_text(finding.trace),
        digest=digest,
        prefix=_words(subject, prefix),
    )
