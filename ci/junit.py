"""Rows as JUnit XML, which every CI shows; what pytest wrote itself is taken in as it is."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from collections.abc import Iterable, Sequence
from pathlib import Path

from ci.outcomes import FINDING, UNKNOWN, Row


def junit(rows: Sequence[Row], others: Iterable[Path] = ()) -> str:
    """A suite for each stage; a finding is a failure, what is not settled is an error."""
    root = xml.Element("testsuites", name="allocheck")
    for stage in dict.fromkeys(row.stage for row in rows):
        _suite(root, stage, [row for row in rows if row.stage == stage])
    for path in others:
        if path.is_file():
            root.extend(xml.parse(path).getroot().iter("testsuite"))
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: xml.Element, stage: str, rows: Sequence[Row]) -> None:
    suite = xml.SubElement(
        root,
        "testsuite",
        name=stage,
        tests=str(len(rows)),
        failures=str(sum(row.verdict == FINDING for row in rows)),
        errors=str(sum(row.verdict == UNKNOWN for row in rows)),
        time=f"{sum(row.seconds for row in rows):.2f}",
    )
    for row in rows:
        of = f"{stage}.{row.subject}" if row.subject else stage
        case = xml.SubElement(suite, "testcase", classname=of, name=row.name,
                              time=f"{row.seconds:.2f}")  # fmt: skip
        if row.verdict in (FINDING, UNKNOWN):
            kind = "failure" if row.verdict == FINDING else "error"
            told = xml.SubElement(case, kind, message=row.message, type=row.rule or row.verdict)
            told.text = row.trace or row.message
