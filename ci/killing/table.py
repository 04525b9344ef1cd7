"""The kill table: rows of targets, columns of engines; as text, as JSON, and what it amounts to.

It counts and prints; the page in HTML is page.py's.
"""

from __future__ import annotations

import io
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ci.killing import survivors
from ci.killing.attempt import ERROR, SURVIVED, UNSTABLE, Attempt
from ci.killing.plan import Plan
from ci.killing.survivors import Entry, Known
from ci.killing.targets import Target

SCHEMA = 1
WIDTH = 160


@dataclass(frozen=True)
class Row:
    """A target and what each engine made of it; `entry` says why it lives, where it is known."""

    target: Target
    attempts: dict[str, Attempt]
    entry: Entry | None = None

    @property
    def killed(self) -> bool:
        """Some engine killed it."""
        return any(attempt.killed for attempt in self.attempts.values())

    @property
    def survived(self) -> bool:
        """An engine had its whole budget, and none killed it; see `failed` too."""
        verdicts = {attempt.verdict for attempt in self.attempts.values()}
        return not self.killed and bool(verdicts & {SURVIVED, UNSTABLE})

    @property
    def failed(self) -> bool:
        """It lives, and an engine could not go on with it."""
        return not self.killed and any(each.verdict == ERROR for each in self.attempts.values())


@dataclass(frozen=True)
class Total:
    """What one engine did: medians are over its kills, of executions, CPU seconds, trace length."""

    engine: str
    tried: int
    killed: int
    errors: int
    executions: float | None
    cpu: float | None
    ops: float | None
    cpu_spent: float


@dataclass
class Board:
    """The whole table; `terms` are the words that it was made under."""

    terms: dict[str, Any]
    engines: Sequence[str]
    plans: Sequence[Plan]
    known: Known
    attempts: dict[tuple[str, str], Attempt] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def rows(self) -> list[Row]:
        """Every target that was tried, in the order of the plans."""
        return [row for row in map(self._row, self._targets()) if row.attempts]

    def _targets(self) -> Iterator[Target]:
        for plan in self.plans:
            yield from plan.targets

    def _row(self, target: Target) -> Row:
        made = {
            engine: self.attempts[target.name, engine]
            for engine in self.engines
            if (target.name, engine) in self.attempts
        }
        return Row(target, made, survivors.of(target, self.known))

    @property
    def survivors(self) -> list[Row]:
        """The rows that no engine killed."""
        return [row for row in self.rows if row.survived]

    @property
    def unexplained(self) -> list[Row]:
        """Survivors that nobody has looked at."""
        return [row for row in self.survivors if row.entry is None]

    @property
    def status(self) -> int:
        """130 after Ctrl-C; 1 for an unexplained survivor; 2 where an engine could not go on."""
        if self.interrupted:
            return 130
        if self.unexplained:
            return 1
        return 2 if any(row.failed for row in self.rows) or not self.rows else 0

    def totals(self, kind: str = "") -> list[Total]:
        """One an engine; of bugs or mutants alone where `kind` says so."""
        rows = [row for row in self.rows if kind in ("", row.target.kind)]
        return [_total(engine, rows) for engine in self.engines]

    def by_rule(self) -> Counter[tuple[str, str]]:
        """How many targets each (engine, rule) killed."""
        return Counter(
            (engine, attempt.rule)
            for row in self.rows
            for engine, attempt in row.attempts.items()
            if attempt.killed
        )

    def by_operator(self) -> dict[str, tuple[int, int]]:
        """(killed, tried) of each operator; planted bugs count as one."""
        tried = Counter(row.target.operator for row in self.rows)
        killed = Counter(row.target.operator for row in self.rows if row.killed)
        return {operator: (killed[operator], tried[operator]) for operator in sorted(tried)}


def _total(engine: str, rows: Sequence[Row]) -> Total:
    made = [row.attempts[engine] for row in rows if engine in row.attempts]
    kills = [attempt for attempt in made if attempt.killed]
    return Total(
        engine,
        len(made),
        len(kills),
        sum(attempt.verdict == ERROR for attempt in made),
        _median(kill.executions for kill in kills),
        _median(kill.cpu for kill in kills),
        _median(kill.ops for kill in kills if kill.ops),
        sum(attempt.spent for attempt in made),
    )


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None


def told(value: float | None, digits: int = 0) -> str:
    """A number for a reader, a dash for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


# ---- text ----


def cell(attempt: Attempt | None) -> str:
    """One attempt in a few words."""
    if attempt is None:
        return ""
    if attempt.verdict == ERROR:
        return f"error: {attempt.message}"
    if not attempt.killed:
        return f"{attempt.verdict} ({attempt.executions:,} runs, {attempt.cpu:.1f} s)"
    cost = f"{attempt.executions:,} runs, {attempt.cpu:.1f} s, {attempt.ops} ops"
    where = f" in {attempt.face}" if attempt.face not in ("", "subject") else ""
    return f"{attempt.rule}{where} ({cost})"


def to_text(board: Board) -> str:
    """The table for a terminal or a file, without colours."""
    out = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    out.print(_grid(board))
    out.print(_sums(board))
    for line in (*_origins(board), *_ends(board)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def _grid(board: Board) -> Table:
    table = Table("target", *board.engines)
    for row in board.rows:
        cells = (escape(cell(row.attempts.get(engine))) for engine in board.engines)
        table.add_row(escape(row.target.title), *cells)
    return table


def _sums(board: Board) -> Table:
    columns = ("engine", "killed", "of", "errors", "median runs", "median CPU s", "median ops",
               "CPU s in all")  # fmt: skip
    table = Table(*columns, title="to the first kill")
    for each in board.totals():
        table.add_row(
            each.engine, str(each.killed), str(each.tried), str(each.errors),
            told(each.executions), told(each.cpu, 2), told(each.ops), told(each.cpu_spent),
        )  # fmt: skip
    return table


def _origins(board: Board) -> Iterator[str]:
    for plan in board.plans:
        heaps = plan.sorted
        yield (
            f"{plan.origin.name}: {len(plan.bugs)} planted bugs; {plan.made} mutants, of which "
            f"were drawn {len(heaps.living)} to be killed, {len(heaps.uncompiled)} that do not "
            f"compile, {len(heaps.identical)} with the object code of the original (equivalent), "
            f"{len(heaps.doubles)} with that of another"
        )
        yield from (f"  no longer there, in survivors.toml: {mutant}" for mutant in plan.stale)


def _ends(board: Board) -> Iterator[str]:
    rows = board.rows
    killed = sum(row.killed for row in rows)
    yield f"{killed} of {len(rows)} killed, {len(board.survivors)} survive"
    for row in board.survivors:
        why = f"{row.entry.word}: {row.entry.reason}" if row.entry else "nobody has looked at it"
        yield f"\nsurvivor {row.target.name}\n  {row.target.identity}\n  {why}"
        yield f"  try it: python fuzz/run.py {row.target.faces[0]}"
        yield "".join(f"    {line}\n" for line in row.target.diff.splitlines()).rstrip()
    for row in rows:
        for engine, attempt in row.attempts.items():
            if attempt.verdict == ERROR:
                yield f"error: {row.target.name}: {engine}: {attempt.message}"
    if board.interrupted:
        yield "interrupted: this is what was found so far"


# ---- JSON ----


def to_json(board: Board) -> str:
    """The machine-readable form."""
    document = {
        "schema": SCHEMA,
        "tool": "kill_table",
        "terms": board.terms,
        "status": board.status,
        "interrupted": board.interrupted,
        "allocators": [_plan(plan) for plan in board.plans],
        "totals": [vars(total) for total in board.totals()],
        "operators": {name: list(counts) for name, counts in board.by_operator().items()},
        "targets": [_target(row) for row in board.rows],
    }
    return json.dumps(document, indent=1) + "\n"


def _plan(plan: Plan) -> dict[str, Any]:
    heaps = plan.sorted
    return {
        "name": plan.origin.name,
        "bugs": len(plan.bugs),
        "mutants": plan.made,
        "living": len(heaps.living),
        "uncompiled": list(heaps.uncompiled),
        "identical": list(heaps.identical),
        "doubles": list(heaps.doubles),
        "stale": list(plan.stale),
    }


def _target(row: Row) -> dict[str, Any]:
    target = row.target
    return {
        "name": target.name,
        "kind": target.kind,
        "identity": target.identity,
        "rule": target.rule,
        "killed": row.killed,
        "diff": target.diff,
        "survivor": vars(row.entry) if row.entry and row.survived else None,
        "attempts": {engine: attempt.as_dict() for engine, attempt in row.attempts.items()},
    }
