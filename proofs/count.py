"""Lines of claim beside lines of C: what `python proofs/run.py --count` prints.

Lines without blank ones; the executor is not counted, for it knows no allocator.
"""

from __future__ import annotations

import re
from pathlib import Path

from allocator.catalogue import bundled

HERE = Path(__file__).resolve().parent
ALLOCATORS = HERE.parent / "allocator"
SHARED = (
    *("program_claims.py", "programs.py", "menu.py", "sizes.py", "oddities.py"),
    *("inductive_claims.py", "induction.py", "walks.py", "sight.py", "onlooker.py"),
    *("window_claims.py", "windows.py", "outline.py", "sighting.py", "promises.py"),
)
OWN = {"explicit_list": ("size_claims.py", "alignment_claims.py")}


def lines_in(path: Path) -> int:
    """The lines of a file that are not blank."""
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())


def sources(name: str) -> set[Path]:
    """The C of a bundled allocator, with the parts that it includes."""
    waiting, found = sorted((ALLOCATORS / name).glob("*.[ch]")), set()
    while waiting:
        path = waiting.pop()
        found.add(path)
        included = re.findall(r'#include "(parts/\w+\.h)"', path.read_text(encoding="utf-8"))
        waiting += [ALLOCATORS / each for each in included if ALLOCATORS / each not in found]
    return found


def own_claims(name: str) -> list[Path]:
    """The Python that speaks of one allocator alone: its walker, and what it has in this folder."""
    return [HERE / each for each in OWN.get(name, ())] + sorted((ALLOCATORS / name).glob("*.py"))


def told() -> str:
    """The table: of each allocator its C, what is claimed of it alone, and their ratio."""
    lines = [f"{'':16}{'C':>6}{'claims':>8}  claim a line of C"]
    whole: set[Path] = set()
    own = 0
    for name in bundled():
        files = sources(name)
        whole |= files
        code = sum(map(lines_in, files))
        claims = sum(map(lines_in, own_claims(name)))
        own += claims
        lines.append(f"{name:16}{code:6}{claims:8}  {claims / code:.2f}")
    code = sum(map(lines_in, whole))
    parts = [*ALLOCATORS.glob("*_walk.py"), *(ALLOCATORS / "parts").glob("*.py")]
    shared = sum(map(lines_in, [*(HERE / name for name in SHARED), *parts]))
    lines.append(f"{'shared by all':16}{'':6}{shared:8}")
    lines.append(f"{'all together':16}{code:6}{own + shared:8}  {(own + shared) / code:.2f}")
    return "\n".join(lines)
