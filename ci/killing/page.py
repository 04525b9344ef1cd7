"""The kill table as one HTML page that needs no other file and no network.

It lays out what table.py has counted.
"""

from __future__ import annotations

from ci.killing.table import Board, cell, told
from fuzz.report.page import render


def to_html(board: Board) -> str:
    """The page; it is XML as well, so that a test can read it."""
    rules = sorted({rule for _, rule in board.by_rule()})
    return render(
        "kill_table.html",
        board=board,
        rows=board.rows,
        rules=rules,
        counts=board.by_rule(),
        cell=cell,
        told=told,
    )
