"""Findings as SARIF 2.1.0, for code scanning; what is clean or unknown is not in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from allocator.catalogue import resolve
from allocator.subject import SubjectError
from ci.outcomes import FINDING, Row
from models.rules import RULES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERSION = "2.1.0"


def sarif(rows: Sequence[Row], root: Path) -> str:
    """One result for each finding, at the subject's first source; paths are relative to `root`."""
    found = [row for row in rows if row.verdict == FINDING]
    names = sorted({_rule(row) for row in found})
    driver = {
        "name": "allocheck",
        "semanticVersion": "0.1.0",
        "rules": [_describe(name) for name in names],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "the checkout"}}},
        "results": [_result(row, names.index(_rule(row)), root) for row in found],
    }
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [run]}, indent=1) + "\n"


def _rule(row: Row) -> str:
    return row.rule or row.stage


def _describe(name: str) -> dict[str, Any]:
    rule = RULES.get(name)
    text = rule.violation if rule else f"the stage {name} found something"
    described = {
        "id": name,
        "name": name,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": "error"},
    }
    if rule:
        described["fullDescription"] = {"text": f"{text} ({rule.layer} rule; {rule.source})"}
        described["properties"] = {"layer": rule.layer, "source": rule.source}
    return described


def _result(row: Row, index: int, root: Path) -> dict[str, Any]:
    text = f"{row.subject}: {row.message}" if row.subject else row.message
    if row.trace:
        text += f"\n\n{row.trace}"
    identity = hashlib.sha256(f"{row.stage} {row.subject} {row.rule} {row.trace}".encode())
    return {
        "ruleId": _rule(row),
        "ruleIndex": index,
        "level": "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": _place(row.subject, root)}],
        "partialFingerprints": {"trace/v1": identity.hexdigest()},
        "properties": {"stage": row.stage, "subject": row.subject, "trace": row.file},
    }


def _place(subject: str, root: Path) -> dict[str, Any]:
    """The first source of a subject of C; the description or the library of another one."""
    path = source_of(subject)
    inside = path is not None and path.is_relative_to(root)
    uri = quote(str(path.relative_to(root))) if inside else path.as_uri() if path else "README.md"
    place: dict[str, Any] = {"uri": uri}
    if inside or path is None:
        place["uriBaseId"] = "ROOT"
    return {"artifactLocation": place, "region": {"startLine": 1}}


def source_of(subject: str) -> Path | None:
    """A file that stands for the subject; that of the sound allocator for a planted bug."""
    try:
        found = resolve(subject.partition("+bugs/")[0]) if subject else None
    except SubjectError:
        return None
    if found is None:
        return None
    return next(iter(found.sources), found.prebuilt)
