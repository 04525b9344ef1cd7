"""The kill table in short, for ci/KILLS.md: what was tried of each allocator, what lives and why.

It counts; the whole table is table.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ci.killing import survivors
from ci.killing.plan import Plan
from ci.killing.rules import Witness, best_first
from ci.killing.table import Board, Row, told
from ci.killing.targets import BUG, MUTANT

DOCUMENT = Path(__file__).resolve().parent.parent / "KILLS.md"


def write(board: Board, command: str, file: Path = DOCUMENT) -> None:
    """Puts what the board has of planted bugs and of mutants between the document's marks."""
    text = file.read_text()
    for kind, lines in ((BUG, _bugs(board)), (MUTANT, _mutants(board))):
        if any(row.target.kind == kind for row in board.rows):
            text = _placed(text, kind, [f"`{command}`", "", *lines])
    file.write_text(text)


def write_rules(
    found: Mapping[str, Sequence[Witness]], command: str, file: Path = DOCUMENT
) -> None:
    """Puts between its marks what every rule is needed for."""
    lines = [
        "| rule | bugs that it names | that need it | the best witness | without the rule |",
        "|---|---:|---:|---|---|",
    ]
    for rule, seen in found.items():
        best = best_first(seen)
        need = sum(each.needs_it for each in seen)
        shown = f"`{best[0].bug.subject}` | {best[0].told()}" if best else "- | no bug names it"
        lines.append(f"| `{rule}` | {len(seen)} | {need} | {shown} |")
    file.write_text(_placed(file.read_text(), "rule", [f"`{command}`", "", *lines]))


def _placed(text: str, kind: str, lines: Sequence[str]) -> str:
    begin, end = f"<!-- {kind}s: kill_table.py writes from here -->", f"<!-- {kind}s: to here -->"
    before, mark, rest = text.partition(begin)
    _, close, after = rest.partition(end)
    if not (mark and close):
        raise ValueError(f"KILLS.md: the marks for {kind}s are gone")
    return "\n".join([f"{before}{begin}", "", *lines, "", f"{end}{after}"])


def _bugs(board: Board) -> Iterator[str]:
    rows = [row for row in board.rows if row.target.kind == BUG]
    yield f"{sum(row.killed for row in rows)} of {len(rows)} planted bugs killed."
    yield ""
    yield "| engine | killed | of | median runs | median CPU s | most CPU s | median operations |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    totals = {total.engine: total for total in board.totals(BUG)}
    for engine in board.engines:
        each = totals[engine]
        kills = [row.attempts[engine] for row in rows if engine in row.attempts]
        most = max((kill.cpu for kill in kills if kill.killed), default=None)
        yield (
            f"| `{engine}` | {each.killed} | {each.tried} | {told(each.executions)} "
            f"| {told(each.cpu, 2)} | {told(most, 2)} | {told(each.ops, 1)} |"
        )
    missed = [row.target.name for row in rows if not row.killed]
    yield from ["", "Not killed: " + ", ".join(f"`{name}`" for name in missed)] if missed else []


def _mutants(board: Board) -> Iterator[str]:
    rows = [row for row in board.rows if row.target.kind == MUTANT]
    words = ("killed", *survivors.WORDS, "nobody looked")
    columns = ("allocator", "in all", "drawn", "do not compile", "same code", "left", *words)
    yield "| " + " | ".join(columns) + " |"
    yield "|---" + "|---:" * (len(columns) - 1) + "|"
    sums: Counter[str] = Counter()
    for plan in board.plans:
        counts = _counts(plan, [row for row in rows if row.target.allocator == plan.origin.name])
        sums.update(counts)
        numbers = " | ".join(str(counts[name]) for name in columns[1:])
        yield f"| `{plan.origin.name}` | {numbers} |"
    yield "| all | " + " | ".join(str(sums[name]) for name in columns[1:]) + " |"
    settled = sums["same code"] + sums["killed"]
    settled += sum(sums[word] for word in survivors.SETTLED)
    compiled = sums["drawn"] - sums["do not compile"]
    kills = [a for row in rows for a in row.attempts.values() if a.killed]
    yield ""
    yield (
        f"{settled} of {compiled} that compile are killed or shown equivalent: "
        f"{100 * settled / max(1, compiled):.1f} %. "
        f"Of those left, {sums['killed']} of {sums['left']} are killed."
    )
    yield from _medians([kill.ops for kill in kills if kill.ops], [kill.cpu for kill in kills])
    yield ""
    yield from _survivors(board.survivors)


def _counts(plan: Plan, rows: Sequence[Row]) -> Counter[str]:
    heaps = plan.sorted
    same = len(heaps.identical)
    counts = Counter({
        "in all": plan.made,
        "drawn": len(rows) + len(heaps.uncompiled) + same,
        "do not compile": len(heaps.uncompiled),
        "same code": same,
        "left": len(rows),
        "killed": sum(row.killed for row in rows),
    })  # fmt: skip
    lives = [row for row in rows if not row.killed]
    counts.update(row.entry.word if row.entry else "nobody looked" for row in lives)
    return counts


def _medians(ops: Sequence[float], cpu: Sequence[float]) -> Iterator[str]:
    if ops:
        middle = len(ops) // 2
        yield (
            f"Median of the kills: {sorted(ops)[middle]} operations in the shrunk trace, "
            f"{sorted(cpu)[middle]:.2f} CPU seconds."
        )


def _survivors(rows: Sequence[Row]) -> Iterator[str]:
    yield "| survivor | what it is | why it lives |"
    yield "|---|---|---|"
    for row in rows:
        identity = row.target.identity.replace("|", "&#124;")
        edit = f"`` {identity} ``" if row.target.kind == MUTANT else ""
        why = f"{row.entry.word}: {row.entry.reason}" if row.entry else "nobody has looked at it"
        yield f"| `{row.target.allocator}` | {edit} | {why.replace('|', '&#124;')} |"
