"""How our commands take their words: examples stay as laid out, an error is one line.

It knows no option; each command adds its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
BAD_INPUT = 2


class Parser(argparse.ArgumentParser):
    """Of the command in `file`; `description` and `epilog` are shown line by line."""

    def __init__(self, file: str, description: str | None, epilog: str, usage: str = "") -> None:
        super().__init__(
            prog=str(Path(file).resolve().relative_to(ROOT)),
            usage=usage or None,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in one line, and ends with status 2."""
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
        raise SystemExit(BAD_INPUT)
