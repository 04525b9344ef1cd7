"""Reports of proofs: a table for people, JSON for machines.

It prints what verify.py found and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.trace import to_text
from proofs.claims import PROVED, REFUTED, UNKNOWN
from proofs.verify import Report

COLOURS = {PROVED: "green", REFUTED: "red", UNKNOWN: "yellow"}
MEANING = (
    "proved: holds for every input within the bound, of the IR that the compiler made of the C; "
    "proofs/README.md says what that rests on. unknown is not proved."
)


def show(console: Console, subject: str, reports: Sequence[Report]) -> None:
    """One line a claim, then what needs more than a line."""
    table = Table(title=subject, title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("claim", "rule", "verdict", "bound", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for report in reports:
        verdict = f"[{COLOURS[report.verdict]}]{report.verdict}[/]"
        row = (report.claim.name, report.claim.rule, verdict, bound_text(report))
        table.add_row(*row, f"{'(cached) ' if report.cached else ''}{report.seconds:.1f}")
    console.print(table)
    for report in reports:
        _show_details(console, report)
    _show_assumptions(console, reports)
    _show_second(console, reports)
    _show_uncovered(console, reports)


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
    """refuted if any is, else unknown if any is or there are none, else proved."""
    verdicts = {report.verdict for report in reports}
    if REFUTED in verdicts:
        return REFUTED
    return PROVED if verdicts == {PROVED} else UNKNOWN


def _claim_json(report: Report) -> dict:
    return {
        "name": report.claim.name,
        "rule": report.claim.rule,
        "says": report.claim.says,
        "verdict": report.verdict,
        "bound": report.bound,
        "seconds": round(report.seconds, 3),
        "cached": report.cached,
        "assumptions": list(report.assumptions),
        "reasons": report.reasons,
        "canary": report.canary or None,
        "second_solver": report.second or None,
        "uncovered": list(report.uncovered),
        "trace": to_text(report.trace) if report.trace else None,
        "replay": report.replayed.note if report.replayed else None,
    }


def _show_details(console: Console, report: Report) -> None:
    if report.verdict == PROVED:
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


def _show_assumptions(console: Console, reports: Sequence[Report]) -> None:
    """What each study assumed, once."""
    studies = {report.claim.name.partition(".")[0]: [] for report in reports}
    for report in reports:
        told = studies[report.claim.name.partition(".")[0]]
        told += [line for line in report.assumptions if line not in told]
    for study, told in studies.items():
        console.print(f"\n{study}.*: {'; '.join(told)}", highlight=False)


def _show_second(console: Console, reports: Sequence[Report]) -> None:
    """What the second solver said, once a study."""
    studies = {report.claim.name.partition(".")[0]: report.second for report in reports}
    for study, told in studies.items():
        if told:
            console.print(f"\n{study}.*: {told}", highlight=False)


def _show_uncovered(console: Console, reports: Sequence[Report]) -> None:
    """Blocks never executed, once for all claims that share them."""
    seen: dict[tuple[str, ...], list[str]] = {}
    for report in reports:
        if report.uncovered:
            seen.setdefault(report.uncovered, []).append(report.claim.name)
    for blocks, names in seen.items():
        whose = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        console.print(f"\nnot executed by {whose}: {', '.join(blocks)}", highlight=False)
