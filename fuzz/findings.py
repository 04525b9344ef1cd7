"""Writes what is left of a finding: its trace, a stand-alone C program, a pytest case.

It judges nothing; a file that is there already under the same name says the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from allocator.subject import Subject
from fuzz.reproducer import reproducer
from fuzz.results import Report
from models.check import Finding
from models.trace import pack_ops, to_text

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


def subject_folder(out: Path, name: str) -> Path:
    """Where the files about a subject go: its name, fit for a file system."""
    safe = "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in name)
    return out / (safe.strip("._") or "subject")


def write(finding: Finding, subject: Subject, out: Path, prefix: str | None = None) -> Report:
    """Writes the files of a finding into the subject's folder under `out`."""
    folder = subject_folder(out, subject.name)
    folder.mkdir(parents=True, exist_ok=True)
    content = pack_ops(finding.trace.ops) + finding.trace.store.to_bytes(8, "little")
    digest = hashlib.sha256(content).hexdigest()[:8]
    stem = f"{finding.rule}-{digest}"
    trace_file = folder / f"{stem}.trace"
    trace_file.write_text(to_text(finding.trace))
    source = reproducer(finding, subject, f"{stem}.c")
    if source is not None:
        (folder / f"{stem}.c").write_text(source)
    test_file = folder / f"test_{finding.rule}_{digest}.py"
    test_file.write_text(_test(finding, subject, digest, prefix))
    return Report(
        finding, subject.contract, trace_file, folder / f"{stem}.c" if source else None, test_file
    )


def _test(finding: Finding, subject: Subject, digest: str, prefix: str | None) -> str:
    return _TEST.format(
        subject=subject.name,
        rule=finding.rule,
        message=finding.message.replace("\\", "\\\\").replace('"', "'"),
        trace=to_text(finding.trace),
        digest=digest,
        prefix=f", prefix={prefix!r}" if prefix else "",
    )
