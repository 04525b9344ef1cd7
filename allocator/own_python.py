"""Hands a command over to the Python of `make setup` where the one that runs it lacks something.

So `python fuzz/run.py` works whatever `python` is; it installs nothing.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / ".venv" / "bin" / "python"
CANNOT_RUN = 2


def need(*modules: str) -> None:
    """Goes on where all are here; else starts the command anew, or ends it with status 2."""
    missing = [module for module in modules if find_spec(module) is None]
    if not missing:
        return
    if OWN.exists() and Path(sys.prefix) != OWN.parent.parent:
        os.execv(OWN, [str(OWN), *sys.argv])
    print(f"{sys.argv[0]}: no module {missing[0]} here: run `make setup` first", file=sys.stderr)
    raise SystemExit(CANNOT_RUN)
