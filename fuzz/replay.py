"""Replays one saved trace on subjects and says what it shows, and whether that was expected.

It neither searches nor shrinks.
"""

from __future__ import annotations

from pathlib import Path

from allocator.catalogue import resolve
from allocator.subject import SubjectError
from fuzz.bench import LONG, Bench, rules_on
from fuzz.campaign import Options
from fuzz.results import Report, Result
from models.race import FRESH
from models.rep import from_rep
from models.trace import Kind, Trace, TraceError, from_text

ONE_THREAD = "threads are not promised: all operations ran in order on one thread"


def read_trace(path: Path) -> Trace:
    """The trace in a .trace or .rep file; TraceError names the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
        return from_rep(text) if path.suffix == ".rep" else from_text(text)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not text (byte {error.start})") from None
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None


def replay(trace: Trace, path: Path, spec: str, options: Options) -> Result:
    """Runs the trace on the subject that `spec` means, in processes of its own."""
    result = Result(spec)
    try:
        subject = resolve(spec, **options.finding)
        if trace.free_running:
            return _replay_race(trace, path, spec, options)
        result.rules_on = rules_on(subject, options.rules, sanitized=options.tsan is not None)
        if not subject.contract.threads and any(op.kind is Kind.THREAD for op in trace):
            result.notes.append(ONE_THREAD)
        with Bench(subject, options.rules) as bench:
            finding = bench.check(trace, budget=0)
            if finding is None:
                result.sample = trace, bench.execute(trace), subject.contract
    except SubjectError as error:
        result.error = str(error)
        return result
    result.executions, result.ops = 1, len(trace)
    if finding:
        result.executions, result.ops = finding.executions, finding.executions * len(trace)
        result.reports.append(Report(finding, subject.contract, path))
    if len(trace) > LONG:
        result.notes += [
            f"over {LONG:,} operations: heap looked at once, at the end; no exact model"
        ]
    result.notes += expectation(trace, spec, finding.rule if finding else "ok")
    return result


def _replay_race(trace: Trace, path: Path, spec: str, options: Options) -> Result:
    """Lets the threads of the trace run freely, again and again."""
    result = Result(spec)
    subject = resolve(spec, **options.finding)
    if not subject.contract.threads:
        result.error = "its contract does not promise threads, so they cannot run freely"
        return result
    sanitized = options.tsan is not None or trace.expect == "race"
    result.rules_on = rules_on(subject, options.rules, sanitized=sanitized)
    noisy = subject if subject.prebuilt else resolve(spec, noise=True, **options.finding)
    with Bench(subject, options.rules, noisy) as bench:
        if sanitized:
            bench.sanitize(options.tsan or "")
        finding = bench.check_race(
            trace, budget=0, seed=2 * options.seed + sanitized, sanitized=sanitized
        )
    result.executions = finding.executions if finding else FRESH
    result.ops = result.executions * len(trace)
    if finding:
        result.reports.append(Report(finding, subject.contract, path))
    else:
        result.notes.append(f"free-running threads: nothing in {FRESH} fresh processes")
    result.notes += expectation(trace, spec, finding.rule if finding else "ok")
    return result


def expectation(trace: Trace, spec: str, seen: str) -> list[str]:
    """What the trace's `expect` line says of this subject, and whether it is so.

    It speaks of the trace's own subject; any other must show ok.
    """
    if trace.expect is None:
        return []
    wanted = trace.expect if trace.subject in (None, spec) else "ok"
    met = "as expected" if wanted == seen else "NOT as expected"
    if trace.free_running and "ok" not in (wanted, seen) and wanted != seen:
        met = "threads run freely, so another rule may name it"
    return [f"expected {wanted}, seen {seen}: {met}"]
