"""The kill table as one HTML page that needs no other file and no network.

It lays out what table.py has counted.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ci.killing.table import Board, cell, told

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


def to_html(board: Board) -> str:
    """The page; it is XML as well, so that a test can read it."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"told": told, "cell": cell}
    rules = sorted({rule for _, rule in board.by_rule()})
    page = environment.get_template("kill_table.html")
    return page.render(board=board, rows=board.rows, rules=rules, counts=board.by_rule())
