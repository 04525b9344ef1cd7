"""What the engines wrote as JSON, as rows of one kind; it runs nothing and judges nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OK, FINDING, UNKNOWN = "ok", "finding", "unknown"
Document = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One thing that was looked at, and what came of it.

    `verdict` is OK, FINDING or UNKNOWN (could not run, not settled); `rule` is the one broken;
    `trace` is its text, `file` where it lies, relative to the folder of the night.
    """

    stage: str
    subject: str
    name: str
    verdict: str
    message: str = ""
    rule: str = ""
    trace: str = ""
    file: str = ""
    seconds: float = 0.0


def read(stage: str, path: Path) -> list[Row]:
    """The rows in an engine's JSON; one UNKNOWN row for a file that cannot be read."""
    try:
        document = json.loads(path.read_text())
        return list(READERS[stage](document))
    except (OSError, ValueError, KeyError, TypeError) as error:
        told = f"{path.name}: {type(error).__name__}: {error}"
        return [Row(stage, "", "results", UNKNOWN, told)]


def _fuzz(document: Document) -> Iterator[Row]:
    for subject in document["subjects"]:
        name, seconds = subject["name"], subject["seconds"]
        for found in subject["findings"]:
            verdict = FINDING if found["reproduced"] else UNKNOWN
            file = f"fuzz/{found['trace_file']}" if found["trace_file"] else ""
            yield Row("fuzz", name, found["rule"], verdict, found["message"], found["rule"],
                      found["trace"], file, seconds)  # fmt: skip
        if subject["error"]:
            yield Row("fuzz", name, "search", UNKNOWN, subject["error"], seconds=seconds)
        elif not subject["findings"]:
            verdict = OK if subject["verdict"] == "ok" else UNKNOWN
            counted = f"{subject['executions']:,} executions"
            yield Row("fuzz", name, "search", verdict, counted, seconds=seconds)


def _proofs(document: Document) -> Iterator[Row]:
    meant = {"proved": OK, "refuted": FINDING}
    for subject in document["subjects"]:
        for claim in subject["claims"]:
            verdict = meant.get(claim["verdict"], UNKNOWN)
            rule = claim["rule"] if verdict == FINDING else ""
            message = f"{claim['name']}: {claim['verdict']}"
            yield Row("proofs", subject["name"], claim["name"], verdict, message, rule,
                      claim.get("trace") or "", seconds=claim["seconds"])  # fmt: skip


def _kills(document: Document) -> Iterator[Row]:
    status = document["status"]
    verdict = {0: OK, 1: FINDING}.get(status, UNKNOWN)
    count = len(document["targets"])
    told = {OK: "each survivor is explained", FINDING: "survivors that nobody has explained"}
    rest = "interrupted" if document.get("interrupted") else "an engine could not go on"
    message = f"{count} wrong allocators; {told.get(verdict, rest)}"
    yield Row("kill_table", "", "kill table", verdict, message)


READERS: dict[str, Callable[[Document], Iterator[Row]]] = {
    "fuzz": _fuzz,
    "proofs": _proofs,
    "kill_table": _kills,
}
