"""Writes a finding as one C file that needs nothing but the subject: its calls, checked.

Text only.  The subject's adapter has the calls, reproducer_store.c the pages, reproducer_ending.c
how it ends.  Then, where operations are done in order, reproducer.c has the checks (and
reproducer_turns.c the threads), reproducer_calls.py writes the main; where threads run freely,
reproducer_race.c has the checks, reproducer_race.py writes what each does, reproducer_rounds.c is
the main.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from allocator.build import MEMLIB
from allocator.region import DEFAULT_STORE
from allocator.subject import Subject
from fuzz import reproducer_race
from fuzz.reproducer_calls import in_turn, on_one_thread
from models.check import Finding
from models.rules import RULES, WHITE_BOX
from models.trace import ALLOCATING, Kind

FOLDER = Path(__file__).resolve().parent
# What cannot be seen by a program that only calls: where another block would have been right.
NOT_REPRODUCIBLE = frozenset({"model"})
SANITIZED = "race"  # the rule whose reproducer is built with ThreadSanitizer
NEWLINE = "\n"


def reproducer(finding: Finding, subject: Subject, name: str) -> str | None:
    """The C file `name`; None where there is nothing to call or nothing that calls could show."""
    if subject.adapter is None or finding.rule in NOT_REPRODUCIBLE:
        return None
    if finding.rule == SANITIZED and subject.prebuilt:
        return None
    calls = subject.adapter.read_text()
    settings = _settings(finding, subject)
    head = f"{_head(finding, subject, name)}\n{calls}"
    return "\n".join([
        head,
        f'#line {head.count(NEWLINE) + 3} "{name}"',
        "\n".join(f"#define REPRODUCER_{key} {value}" for key, value in settings.items()),
        *_parts(finding, subject, "allocheck_init(" in calls),
    ])  # fmt: skip


def _parts(finding: Finding, subject: Subject, has_init: bool) -> list[str]:
    """The texts behind the settings, in order."""
    begin = ["    open_world();"]
    if has_init:
        arena = "arena, sizeof arena" if subject.contract.arena else "NULL, 0"
        begin.append(f'    if (allocheck_init({arena}))\n        violated("init", "it fails");')
    if finding.trace.free_running:
        threads = reproducer_race.threads(finding.trace, subject.contract, begin)
        return [_text("store"), _text("ending"), _text("race"), threads, _text("rounds")]
    parts = [_text("store"), _text("ending"), (FOLDER / "reproducer.c").read_text()]
    if subject.contract.threads and any(op.kind is Kind.THREAD for op in finding.trace):
        return [*parts, _text("turns"), in_turn(finding, subject.contract, begin)]
    return [*parts, on_one_thread(finding, subject.contract, begin)]


def _text(part: str) -> str:
    return (FOLDER / f"reproducer_{part}.c").read_text()


def build_line(subject: Subject, name: str, extra: Sequence[str] = ()) -> str:
    """The command that builds it, for a shell."""
    files = [str(path) for path in subject.sources]
    files += [str(subject.prebuilt)] if subject.prebuilt else []
    folders = [f"-I{path}" for path in subject.include]
    folders += [f"-iquote{subject.folder}"] if subject.folder else []
    folders += [f"-idirafter{MEMLIB}"] if any(map(_wants_memlib, subject.sources)) else []
    flags = ["-g", "-O2", "-UNDEBUG", "-fno-builtin", *subject.flags, *folders]
    flags += ["-Dmain=subject_main"] if any(map(_has_main, subject.sources)) else []
    linked = [*files, "-lm", "-lpthread", "-o", name.removesuffix(".c")]
    return shlex.join(["cc", *flags, *extra, name, *linked])


def _has_main(source: Path) -> bool:
    """Whether it has a main of its own, which the reproducer's takes the place of."""
    return bool(re.search(r"\bmain\s*\(", source.read_text(errors="replace")))


def _wants_memlib(source: Path) -> bool:
    """Whether the malloc lab's headers, which may be ours, are asked for."""
    return bool(re.search(r'#\s*include\s+"(memlib|mm)\.h"', source.read_text(errors="replace")))


def noise_of(finding: Finding, subject: Subject) -> list[str]:
    """Flags with which threads that run freely show more: see reproducer_rounds.c."""
    if not finding.trace.free_running or subject.prebuilt:
        return []
    return ["-fsanitize=thread"] if finding.rule == SANITIZED else ["-fsanitize-coverage=trace-pc"]


def _head(finding: Finding, subject: Subject, name: str) -> str:
    text = f"{subject.name} breaks `{finding.rule}`: {finding.message}".replace("*/", "* /")
    line = build_line(subject, name, noise_of(finding, subject))
    memory = "it gets its memory from a store in here"
    told = ""
    if finding.trace.free_running:
        told = _told_of_chance(finding)
        memory = "it has the system's memory" if finding.rule == SANITIZED else memory
    return (
        f"/* {text}\n *\n"
        f" *     {line} && ./{name.removesuffix('.c')}\n *\n"
        " * ends with 1 and a line that names the rule where it is broken, with 0 where not.\n"
        f"{told} * Nothing but the subject is needed; {memory}.\n */\n"
        "#define _GNU_SOURCE"
    )


def _told_of_chance(finding: Finding) -> str:
    shown, of = finding.shown or (0, 0)
    often = f" (it was in {shown} of {of} processes)" if of else ""
    return (
        f" * Its threads run freely: chance decides whether it is broken{often}, and which\n"
        " * rule names it.  It tries for a minute, or for as many seconds as its argument says.\n"
    )


def _store_for(finding: Finding) -> int:
    """Where the subject may be the program's own malloc, and serves our threads too: more."""
    return DEFAULT_STORE * (4 if finding.trace.free_running else 1)


def _settings(finding: Finding, subject: Subject) -> dict[str, object]:
    contract, trace = subject.contract, finding.trace
    names = max((op.name + 1 for op in trace if op.kind in ALLOCATING), default=0)
    cycles = sum(op.kind is Kind.FREE_ALL for op in trace)
    zero = {"null": -1, "any": 0, "unique": 1}[contract.malloc_zero]
    settings: dict[str, object] = {
        "RULE": f'"{finding.rule}"',
        "STORE": f"((size_t){trace.store or _store_for(finding)})",
        "NAMES": names,
        "CYCLES": cycles,
        "ZERO": f"({zero})",
        "WRITABLE": int(contract.usable_writable),
    }
    if contract.arena:
        settings["ARENA"] = contract.arena
    if "usable_size" in subject.has:
        settings["USABLE"] = "allocheck_usable_size"
    if "check" in subject.has and RULES[finding.rule].layer == WHITE_BOX:
        settings["CHECK"] = "allocheck_check"
    if trace.free_running:
        settings |= reproducer_race.settings(trace, contract, "free" in subject.has)
        settings |= {"SANITIZED": 1} if finding.rule == SANITIZED else {}
    return settings
