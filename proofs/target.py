"""The machine that the C is compiled for: how wide a word is, and where what has a place lies.

One a process, fixed when the modules are loaded, because the width is in every term; run.py's
`--bits` chooses it through the environment.  It compiles nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

VARIABLE = "ALLOCHECK_BITS"


@dataclass(frozen=True)
class Target:
    """Where things lie, in bytes from 0.

    flags    what the compiler is told, beside what it is always told
    symbols  functions and global variables, from here up to the stack
    stack    (lowest, end) of what locals may take
    wild     no sound program forms an address from here up
    plenty   bytes that a host grants who has plenty
    objects  what a study makes up lies below this
    """

    bits: int
    flags: tuple[str, ...]
    symbols: int
    stack: tuple[int, int]
    wild: int
    plenty: int
    objects: int


TARGETS = {
    "64": Target(
        64, (), 0x6000_0000_0000, (0x7FFE_0000_0000, 0x8000_0000_0000), 2**48, 2**44, 2**47
    ),
    "32": Target(
        32,
        ("-target", "x86-linux-musl"),
        0xB000_0000,
        (0xBF00_0000, 0xC000_0000),
        0xC000_0000,
        2**29,
        2**31,
    ),
}
TARGET = TARGETS[os.environ.get(VARIABLE, "64")]
NATIVE = TARGET.bits == 64  # compiled libraries, heap walks and windows are of this machine
