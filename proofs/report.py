"""Reports of proofs: a table and a page for people, JSON for machines.

It prints what verify.py found and decides nothing; a counterexample is run again to be drawn.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from allocator.executor import open_executor
from allocator.subject import Subject, SubjectError
from allocator.walks import walked
from fuzz.report.exhibit import Exhibit, exhibit
from fuzz.report.page import render, write
from models.judge import CannotJudge, judge
from models.observation import Run
from models.report import thumbnail
from models.trace import to_text
from models.verdict import Verdict
from proofs.claims import NARROW, PROVED, REFUTED, UNKNOWN
from proofs.closure import ALIGNMENT, LIVE, Closure
from proofs.verify import Report

COLOURS = {PROVED: "green", NARROW: "cyan", REFUTED: "red", UNKNOWN: "yellow"}
MEANING = (
    "proved: holds for every input within the bound, of the IR that the compiler made of the C; "
    "proofs/README.md says what that rests on. narrow: the same, but the bound does not come to "
    "all of the code: what it never executed is named. unknown is not proved."
)


# How much must be told of an allocator for it; level 2 is closure.py's, and makes no claim.
LEVELS = {
    None: "written for this allocator",
    0: "level 0 (no annotation)",
    1: "level 1 (a heap walk)",
    2: "level 2 (every heap of a small memory, natively)",
}


def level_of(claim: str) -> int | None:
    """The level of a claim or a study by its name."""
    return {"first": 0, "bounded": 0, "inductive": 1}.get(claim.partition(".")[0])


@dataclass(frozen=True)
class Witness:
    """What a counterexample shows on the compiled library."""

    run: Run
    verdict: Verdict


def witness(report: Report, subject: Subject) -> Witness | None:
    """Runs a report's counterexample once more; None where it has none, or cannot be run."""
    if report.trace is None:
        return None
    try:
        with open_executor(subject, sandbox=True) as executor:
            run = executor.run(report.trace, check="each")
        return Witness(run, judge(report.trace, run, subject.contract))
    except (SubjectError, CannotJudge):
        return None


def show(console: Console, subject: Subject, reports: Sequence[Report]) -> None:
    """One line a claim, then what needs more than a line."""
    table = Table(title=subject.name, title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("claim", "rule", "verdict", "bound", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for report in reports:
        verdict = f"[{COLOURS[report.verdict]}]{report.verdict}[/]"
        row = (report.claim.name, report.claim.rule, verdict, bound_text(report))
        table.add_row(*row, f"{'(cached) ' if report.cached else ''}{report.seconds:.1f}")
    console.print(table)
    for report in reports:
        _show_details(console, report, subject)
    _show_assumptions(console, reports)
    _show_canaries(console, reports)
    _show_second(console, reports)
    _show_uncovered(console, reports)


def _show_canaries(console: Console, reports: Sequence[Report]) -> None:
    """How many planted bugs were refuted, and on the compiled library too."""
    replays = [report.canary_replayed for report in reports if report.canary]
    if replays:
        seen = sum(bool(each and each.confirmed) for each in replays)
        console.print(
            f"\ncanaries: {len(replays)} refuted on planted bugs; {seen} of the counterexamples "
            "break a rule on the compiled library too",
            highlight=False,
        )


def bound_text(report: Report) -> str:
    """The bound in words."""
    if report.bound is None:
        return "none: all inputs"
    return ", ".join(f"{count} {what}" for what, count in report.bound.items())


def as_json(subject: str, reports: Sequence[Report]) -> dict:
    """One subject of the JSON report; DESIGN.md fixes the keys."""
    return {
        "name": subject,
        "verdict": worst(reports),
        "claims": [_claim_json(report) for report in reports],
    }


def worst(reports: Sequence[Report]) -> str:
    """refuted if any is, else unknown if any is or there are none, then narrow, then proved."""
    verdicts = {report.verdict for report in reports} or {UNKNOWN}
    return next(word for word in (REFUTED, UNKNOWN, NARROW, PROVED) if word in verdicts)


def _claim_json(report: Report) -> dict:
    return {
        "name": report.claim.name,
        "rule": report.claim.rule,
        "level": level_of(report.claim.name),
        "says": report.claim.says,
        "verdict": report.verdict,
        "bound": report.bound,
        "seconds": round(report.seconds, 3),
        "cached": report.cached,
        "assumptions": list(report.assumptions),
        "reasons": report.reasons,
        "canary": report.canary or None,
        "canary_replay": report.canary_replayed.note if report.canary_replayed else None,
        "second_solver": report.second or None,
        "uncovered": list(report.uncovered),
        "trace": to_text(report.trace) if report.trace else None,
        "replay": report.replayed.note if report.replayed else None,
    }


def _show_details(console: Console, report: Report, subject: Subject) -> None:
    if report.verdict in (PROVED, NARROW):
        return
    colour = COLOURS[report.verdict]
    console.print(f"\n[{colour}]{report.claim.name}[/]: {escape(report.claim.says)}")
    for reason in report.reasons:
        console.print(f"  {escape(reason)}", soft_wrap=True)
    if report.trace:
        for line in to_text(report.trace).splitlines():
            console.print(f"    {escape(line)}", highlight=False)
    if report.replayed:
        console.print(f"  {escape(report.replayed.note)}")
    seen = witness(report, subject)
    if seen:
        heap = thumbnail(report.trace, seen.run, subject.contract, seen.verdict.violation)
        console.print(f"  {escape(heap)}", highlight=False, soft_wrap=True)


def _show_assumptions(console: Console, reports: Sequence[Report]) -> None:
    """What each study assumed, once."""
    studies = {report.claim.name.partition(".")[0]: [] for report in reports}
    for report in reports:
        told = studies[report.claim.name.partition(".")[0]]
        told += [line for line in report.assumptions if line not in told]
    for study, told in studies.items():
        level = LEVELS[level_of(study)]
        console.print(f"\n{study}.*, {level}: {'; '.join(told)}", highlight=False)


def _show_second(console: Console, reports: Sequence[Report]) -> None:
    """What the second solver said, once a study."""
    studies = {report.claim.name.partition(".")[0]: report.second for report in reports}
    for study, told in studies.items():
        if told:
            console.print(f"\n{study}.*: {told}", highlight=False)


def _show_uncovered(console: Console, reports: Sequence[Report]) -> None:
    """Code that a bound does not come to, once for all claims that share it."""
    seen: dict[tuple[str, ...], list[str]] = {}
    for report in reports:
        if report.verdict == NARROW:
            seen.setdefault(report.uncovered, []).append(report.claim.name)
    for blocks, names in seen.items():
        whose = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        told = f"\nnarrow: never executed by {whose}, nor by others that claim the same"
        console.print(f"{told}: {', '.join(blocks)}", highlight=False)


# ---- level 2 ----


def of_closure(name: str, found: Closure) -> list[str]:
    """What an enumeration has to say, a line each."""
    word = "broken" if found.finding else "closed, nothing wrong" if found.closed else "not closed"
    lines = [
        f"{name}: {LEVELS[2]}: {word}; {found.memory} bytes of memory, "
        f"at most {LIVE} live blocks, alignment {ALIGNMENT}",
        *(f"  {menu.told()}" for menu in found.menus),
    ]
    if found.finding:
        lines += [f"  {found.finding.message}", *_indented(to_text(found.finding.trace))]
        if not found.finding.reproduced:
            lines.append("  not reproduced with the patterns of an ordinary run")
    return lines


def closure_json(name: str, found: Closure) -> dict:
    """The same for a machine."""
    return {
        "name": name,
        "level": 2,
        "verdict": "refuted" if found.finding else "closed" if found.closed else UNKNOWN,
        "memory": found.memory,
        "live": LIVE,
        "menus": [
            {"sizes": list(menu.sizes), "closed": menu.closed, **menu.tally._asdict()}
            for menu in found.menus
        ],
        "rule": found.finding.rule if found.finding else None,
        "trace": to_text(found.finding.trace) if found.finding else None,
    }


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def why_not_there(file: Path) -> str:
    """Why no report can be written to this file, and what to do; "" where one can."""
    folder = file.resolve().parent
    if file.is_dir():
        return f"{file}: a folder: name a file in it"
    if not folder.is_dir():
        return f"{file}: no such folder: make it, or name another place"
    if not os.access(file if file.exists() else folder, os.W_OK):
        return f"{file}: cannot be written: name another place"
    return ""


# ---- the page ----


def write_page(
    file: Path,
    done: Mapping[str, Sequence[Report]],
    subjects: Mapping[str, Subject],
    words: Sequence[str],
) -> None:
    """Writes the page of a run: claims with their verdicts, counterexamples with pictures."""
    told = [
        _subject_part(number, name, entries, subjects[name])
        for number, (name, entries) in enumerate(done.items())
    ]
    command = shlex.join(["python", "proofs/run.py", *words])
    write(file, render("proofs.html", subjects=told, command=command, meaning=MEANING))


def _subject_part(
    number: int, name: str, reports: Sequence[Report], subject: Subject
) -> dict[str, Any]:
    claims = [
        {
            "name": report.claim.name,
            "says": report.claim.says,
            "rule": report.claim.rule,
            "verdict": report.verdict,
            "bound": bound_text(report),
            "seconds": report.seconds,
            "canary": report.canary,
            "reasons": report.reasons,
            "exhibit": _exhibit(f"c{number}-{index}", report, subject),
        }
        for index, report in enumerate(reports)
    ]
    assumptions = dict.fromkeys(line for report in reports for line in report.assumptions)
    return {
        "name": name,
        "verdict": worst(reports),
        "claims": claims,
        "assumptions": list(assumptions),
    }


def _exhibit(key: str, report: Report, subject: Subject) -> Exhibit | None:
    """A counterexample on the compiled library."""
    seen = witness(report, subject)
    if report.trace is None or seen is None:
        return None
    again = shlex.join(["python", "fuzz/run.py", subject.name, "--replay", "FILE"])
    return exhibit(
        key,
        report.trace,
        seen.run,
        seen.verdict,
        subject.contract,
        walked=walked(subject, report.trace),
        commands=[("Save the trace below to FILE; then", again)],
        standing=report.replayed.note if report.replayed else "",
    )
