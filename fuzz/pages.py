"""The HTML page of a search or a replay: results are looked at once more, and laid out.

It searches nothing; what the page looks like is report/'s.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from allocator.catalogue import resolve
from allocator.subject import Subject, SubjectError
from allocator.walks import walked
from fuzz.bench import Bench, exact_model
from fuzz.census import Census
from fuzz.options import Options
from fuzz.report.campaign import campaign
from fuzz.report.exhibit import Exhibit, exhibit
from fuzz.report.page import Section, render, write
from fuzz.results import Report, Result
from models.check import Finding
from models.report import promise
from models.trace import Trace


def search_page(
    file: Path,
    results: Sequence[Result],
    censuses: Mapping[str, Census],
    words: Sequence[str],
    seed: int,
    options: Options,
    meaning: str,
) -> None:
    """Writes the page of a search; `words` are the command's, `censuses` by subject."""
    sections = [
        Section(
            result.name,
            result.verdict,
            result.line(),
            _exhibits(f"f{number}", result, options),
            _campaign(result, censuses.get(result.name, Census())),
            result.notes,
        )
        for number, result in enumerate(results)
    ]
    _write(file, "Search", f"Seed {seed}.", sections, words, meaning)


def replay_page(
    file: Path, trace: Trace, results: Sequence[Result], words: Sequence[str], options: Options
) -> None:
    """Writes the page of a replay: a trace that breaks nothing is shown too."""
    sections = [
        Section(
            result.name,
            result.verdict,
            result.line(),
            _exhibits(f"f{number}", result, options)
            or _clean(f"f{number}", result, trace, options),
            notes=result.notes,
        )
        for number, result in enumerate(results)
    ]
    meaning = "A pass means: this one trace broke no rule that is on."
    _write(file, "Replay", f"{len(trace):,} operations.", sections, words, meaning)


def _write(file: Path, title: str, lead: str, sections, words: Sequence[str], meaning: str) -> None:
    command = shlex.join(["python", "fuzz/run.py", *words])
    page = render(
        "search.html", title=title, lead=lead, command=command, sections=sections, meaning=meaning
    )
    write(file, page)


def _exhibits(key: str, result: Result, options: Options) -> list[Exhibit]:
    """The findings of a subject."""
    if not result.reports:
        return []
    subject = resolve(result.name, **options.finding)
    named = enumerate(result.reports)
    return [_exhibit(f"{key}-{number}", report, subject, options) for number, report in named]


def _exhibit(key: str, report: Report, subject: Subject, options: Options) -> Exhibit:
    finding = report.finding
    again = ["python", "fuzz/run.py", subject.name]
    again += ["--prefix", options.prefix] if options.prefix else []
    again += promise(subject.name, subject.contract).split()
    commands = [("Replay it:", shlex.join([*again, "--replay", str(report.trace_file)]))]
    if report.reproducer:
        told = "A C program that needs nothing but the allocator (its first lines say how to build)"
        commands.append((f"{told}:", str(report.reproducer)))
    if report.test_file:
        test = shlex.join(["python", "-m", "pytest", str(report.test_file)])
        commands.append(("A test that fails until it is mended:", test))
    return exhibit(
        key,
        finding.trace,
        finding.run,
        finding.verdict,
        report.contract,
        walked=walked(subject, finding.trace),
        predict=exact_model(subject),
        commands=commands,
        standing=_standing(finding),
    )


def _standing(finding: Finding) -> str:
    if finding.shown:
        shown, of = finding.shown
        return (
            f"Shown in {shown} of {of} fresh processes: threads run freely. The pictures follow "
            "the order of the trace, which is not that of time."
        )
    again = "Reproduced" if finding.reproduced else "NOT reproduced"
    return f"{again} in a fresh process."


def _clean(key: str, result: Result, trace: Trace, options: Options) -> list[Exhibit]:
    """A trace that broke nothing, run once more to be drawn."""
    if result.error is not None:
        return []
    try:
        with Bench(resolve(result.name, **options.finding)) as bench:
            run = bench.execute(trace)
            verdict = bench.glance(trace, run)
            layouts = walked(bench.subject, trace)
            contract = bench.subject.contract
            return [
                exhibit(key, trace, run, verdict, contract, walked=layouts, predict=bench.predict)
            ]
    except SubjectError:
        return []


def _campaign(result: Result, census: Census):
    return campaign(
        result.pulse,
        census.coverage,
        census.operations,
        census.lines,
        census.programs,
        result.rules_on,
        result.policy,
    )
