"""The survivors that somebody has looked at: why each lives, by an identity that lasts.

It reads survivors.toml and decides nothing; a survivor without an entry is a finding.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allocator.subject import SubjectError
from ci.killing.targets import Target

FILE = Path(__file__).with_name("survivors.toml")
PROVED, EQUIVALENT, UNOBSERVABLE = "proved", "equivalent", "unobservable"
GAP, UNDECIDED = "gap", "undecided"
WORDS = (PROVED, EQUIVALENT, UNOBSERVABLE, GAP, UNDECIDED)
SETTLED = (PROVED, EQUIVALENT)
ANY = "*"  # stands for every allocator that has the mutant: those of a shared part
_KEYS = {"allocator", "mutant", "word", "reason"}


@dataclass(frozen=True)
class Entry:
    """Why a target lives.

    word    proved: equivalent, by a proof that `reason` names; equivalent: no call can tell it from
            the original, by this reason; unobservable: it differs, and in nothing that is promised
            (time, what lies in dead memory); gap: it is wrong, and no rule or generator of ours
            sees it; undecided
    """

    allocator: str
    mutant: str
    word: str
    reason: str


Known = Mapping[tuple[str, str], Entry]


def read(path: Path = FILE) -> dict[tuple[str, str], Entry]:
    """The entries by (allocator, identity); SubjectError names what is wrong with one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SubjectError(f"{path.name}: {error}") from None
    entries: dict[tuple[str, str], Entry] = {}
    for number, each in enumerate(table.get("survivor", []), 1):
        if set(each) != _KEYS or not all(isinstance(v, str) and v.strip() for v in each.values()):
            keys = ", ".join(sorted(_KEYS))
            raise SubjectError(f"{path.name}: survivor {number} takes {keys}, each a text")
        entry = Entry(**each)
        if entry.word not in WORDS:
            raise SubjectError(f"{path.name}: survivor {number}: word is one of {', '.join(WORDS)}")
        if (entry.allocator, entry.mutant) in entries:
            raise SubjectError(f"{path.name}: survivor {number} is there twice: {entry.mutant}")
        entries[entry.allocator, entry.mutant] = entry
    return entries


def of(target: Target, known: Known) -> Entry | None:
    """The entry for a target; None where nobody has looked at it."""
    own = known.get((target.allocator, target.identity))
    return own or known.get((ANY, target.identity))


def stale(known: Known, allocator: str, identities: Iterable[str]) -> list[str]:
    """Entries for mutants that an allocator no longer has."""
    there = set(identities)
    return [
        entry.mutant
        for entry in known.values()
        if entry.allocator == allocator and entry.mutant not in there
    ]
