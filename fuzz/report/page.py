"""The pages: templates filled with values, one file each, no network, readable without scripts.

It lays out what others found; every page is XML as well, so that tests can read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fuzz.report.campaign import Campaign
from fuzz.report.exhibit import Exhibit

TEMPLATES = Path(__file__).resolve().parent / "templates"
# What XML has no room for, in somebody's source say.
_NOT_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Section:
    """One subject of a page: its verdict, its line, and what there is to show."""

    name: str
    verdict: str
    line: str
    exhibits: Sequence[Exhibit] = ()
    campaign: Campaign | None = None
    notes: Sequence[str] = ()


def render(template: str, **values: Any) -> str:
    """A page from one of the templates; whatever the template names must be there."""
    return _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", _templates().get_template(template).render(
        **values
    ))  # fmt: skip


def write(file: Path, text: str) -> None:
    """Writes a page, and the folder it goes to."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
