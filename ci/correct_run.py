"""A long campaign on an allocator that is taken to be correct: what was done, what was found.

It runs campaigns of fuzz/ and counts occasions; what a finding means, a person decides.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from allocator.catalogue import resolve
from allocator.subject import Subject, SubjectError
from ci.exercised import occasions
from fuzz.asking import Questions
from fuzz.bench import Bench
from fuzz.campaign import Campaign
from fuzz.dedicated import dedicated
from fuzz.limits import limits_of, probe_edges
from fuzz.options import TRACES, Options
from fuzz.results import Result
from models.contract import has_no_description
from models.rules import RULES, WHITE_BOX
from models.trace import to_text

REAL_BUGS = Path(__file__).with_name("real_bugs.toml")
OPERATIONS_A_RUN = 430  # of a campaign with --runs, about
MOST_RUNS, TURNS = 12_000, 40
SAMPLE = 300  # programs whose occasions are counted
FUNCTIONS = ("calloc", "realloc", "aligned_alloc", "memalign", "posix_memalign", "free",
             "usable_size")  # fmt: skip
# What shows one bug: a shrunk trace may have another of them than the one it was found with.
_FAMILIES = (("calloc",), ("realloc",), ("aligned_alloc", "memalign", "posix_memalign"))
_WHY_OFF = {
    "bounds": "its memory is not ours to see",
    "oom": "its pages are not ours to refuse",
    "null": "not promised",
    "zero_size": "no answer promised",
    "errno": "not promised",
    "misuse": "no detection promised",
    "reclaim": "not promised",
    "footprint": "not promised",
    "model": "no exact model",
    "race": "no ThreadSanitizer, or no threads promised",
} | {name: "no predicate" for name, rule in RULES.items() if rule.layer == WHITE_BOX}


@dataclass
class Row:
    """One subject: counts are over all turns, `occasions` over `sampled` operations by rule.

    `raced` counts the operations of threads that ran freely, which `operations` leaves out.

    skipped   functions that it lacks, or that were left out, with the reason
    off       rules that could not fire, with the reason
    findings  rule, message, shrunk trace, and `evidence` where it is a bug known to be theirs
    """

    name: str
    operations: int = 0
    raced: int = 0
    executions: int = 0
    seconds: float = 0.0
    rules_on: tuple[str, ...] = ()
    off: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    occasions: dict[str, int] = field(default_factory=dict)
    sampled: int = 0
    policy: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, str]] = field(default_factory=list)
    error: str = ""

    @property
    def unexplained(self) -> list[dict[str, str]]:
        """Findings that nobody has traced to their cause yet."""
        return [each for each in self.findings if not each["evidence"]]


def real_bugs(path: Path = REAL_BUGS) -> list[dict[str, str]]:
    """The bugs that were found in allocators of others."""
    return list(tomllib.loads(path.read_text()).get("bug", []))


def examine(name: str, operations: int, seed: int, out: Path, threads: int = 0) -> Row:
    """Campaigns on `name` until `operations` were done; functions that show a bug are left out of
    the next one, so that one bug does not hide others.

    So many `threads` run freely besides, where the contract promises them, or cannot.
    """
    row = Row(name)
    promised = bool(threads) and has_no_description(name)
    try:
        for turn in range(TURNS):
            missing = operations - row.operations
            if missing <= 0 or row.error:
                break
            runs = min(MOST_RUNS, max(500, missing // OPERATIONS_A_RUN))
            options = Options(runs=runs, seed=seed + turn, out=out / str(turn), threads=threads,
                              saved=TRACES if not turn else out / "nothing-saved",
                              promised=promised)  # fmt: skip
            find = partial(_without, row)
            _add(row, Campaign(name, options, find=find).run())
        _sample(row, _without(row, name, **options.finding), seed)
    except SubjectError as error:
        row.error = str(error)
    return row


def _without(row: Row, *words: Any, **more: Any) -> Subject:
    """The subject less the functions that were left out."""
    found = resolve(*words, **more)
    row.skipped |= {each: "it has none" for each in FUNCTIONS if each not in found.has}
    return replace(found, has=found.has - set(row.skipped))


def _add(row: Row, result: Result) -> None:
    row.operations += result.ops - result.raced
    row.raced += result.raced
    row.executions += result.executions
    row.seconds += result.seconds
    row.rules_on = row.rules_on or result.rules_on
    row.off = {rule: _WHY_OFF.get(rule, "no such function")
               for rule in RULES if rule not in row.rules_on}  # fmt: skip
    row.policy = row.policy or result.policy
    row.error = result.error or ""
    known = {each["rule"]: each["evidence"] for each in real_bugs() if each["subject"] == row.name}
    for report in result.reports:
        finding = report.finding
        evidence = known.get(finding.rule, "")
        row.findings.append({
            "rule": finding.rule, "message": finding.message, "trace": to_text(finding.trace),
            "evidence": evidence,
        })  # fmt: skip
        used = {op.kind.name.lower() for op in finding.trace}
        for family in _FAMILIES:
            if used & set(family):
                row.skipped |= dict.fromkeys(family, f"left out after a finding: {finding.rule}")
    for rule in result.vanished:
        row.findings.append({"rule": rule, "message": "seen once, and not when the trace was run "
                             "again", "trace": "", "evidence": ""})  # fmt: skip


def _sample(row: Row, subject: Subject, seed: int) -> None:
    """Counts the occasions of random programs, and of the traces made for one rule."""
    found: Counter[str] = Counter()
    with Bench(subject) as bench:
        limits = limits_of(subject, probe_edges(bench.execute, subject))
        questions = Questions(bench.executor, limits, seed)
        for number in range(SAMPLE):
            trace = questions.next()
            traces = [trace, *(dedicated(trace, subject) if not number % 60 else ())]
            for each in traces:
                found += occasions(each, bench.execute(each))
                row.sampled += len(each)
    row.occasions = {rule: found[rule] for rule in row.rules_on}
