"""The ledger of a campaign: one line of JSON for each thing that must not be lost.

Lines are only ever added, each at once; what findings look like as files, findings.py knows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEGIN, FINDING, STINT, END = "begin", "finding", "stint", "end"
Event = dict[str, Any]


class Ledger:
    """The ledger in a folder; several processes may write to it at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "ledger.jsonl"

    def add(self, event: str, **fields: Any) -> None:
        """Writes an event down; it is on the disk when this returns.  Raises OSError."""
        line = json.dumps({"event": event, **fields}).encode()
        # A line that a dying process left unfinished must not spoil the next one.
        whole = self.path.exists() and not self._ends_well()
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(file, b"\n" * whole + line + b"\n")
            os.fsync(file)
        finally:
            os.close(file)

    def _ends_well(self) -> bool:
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return True
            file.seek(size - 1)
            return file.read() == b"\n"

    def session(self) -> list[Event]:
        """The events of the last campaign, its BEGIN first; [] where there is none."""
        events: list[Event] = []
        for event in self._events():
            if event["event"] == BEGIN:
                events = [event]
            elif events:
                events.append(event)
        return events

    def of(self, event: str, subject: str) -> list[Event]:
        """The last campaign's events of a kind on one subject."""
        return [
            each
            for each in self.session()
            if each["event"] == event and each.get("subject") == subject
        ]

    def _events(self) -> Iterator[Event]:
        try:
            lines = self.path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # cut short
                continue
            if isinstance(event, dict) and "event" in event:
                yield event
