"""The C of this folder, built: the decoder and the mutator, each as a library and as a program.

What the C does, decoder.h, mutator.h, decode.c and mutate.c say; nothing is loaded here.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from allocator import build
from models.trace import OP_BYTES, Trace, unpack_ops

FOLDER = Path(__file__).resolve().parent


def decoder_library() -> Path:
    """The byte decoder as a shared object; SubjectError when it cannot be built."""
    return build.shared([FOLDER / "decoder.c"], "decoder", include=[FOLDER])


def mutator_library() -> Path:
    """The operation-aligned mutator for libFuzzer as a shared object; SubjectError likewise."""
    return build.shared([FOLDER / "mutator.c"], "mutator", include=[FOLDER])


def decode_program(flags: Sequence[str] = ()) -> Path:
    """The decoder as an executable, built with `flags` added; SubjectError likewise."""
    return _program(["decoder.c", "decode.c"], flags, [])


def mutate_program(flags: Sequence[str] = ()) -> Path:
    """The mutator as an executable, likewise; libFuzzer's own mutations are not in it."""
    return _program(["mutator.c", "mutate.c"], flags, ["-ldl"])


def _program(sources: list[str], flags: Sequence[str], libraries: list[str]) -> Path:
    options = (*build.harness_flags(), f"-I{build.HARNESS}", f"-I{FOLDER}", *flags)
    units = [build.Unit(FOLDER / name, options, FOLDER) for name in sources]
    objects = [build.compile_object(unit) for unit in units]
    return build.link(Path(sources[-1]).stem, objects, libraries, suffix="")


def request(data: bytes, limits: bytes, capacity: int) -> bytes:
    """What decode.c reads for one program; `limits` is a packed record."""
    return limits + struct.pack("<QQ", capacity, len(data)) + data


def mutate_request(what: int, seed: int, max_size: int, one: bytes, other: bytes = b"") -> bytes:
    """What mutate.c reads for one mutation; sizes in bytes."""
    return struct.pack("<5I", what, seed, max_size, len(one), len(other)) + one + other


def decode(data: bytes, limits: bytes, capacity: int = 1 << 14) -> Trace:
    """The trace that a program's bytes mean."""
    done = subprocess.run(
        [decode_program()], input=request(data, limits, capacity), capture_output=True, check=True
    )
    _count, store = struct.unpack_from("<QQ", done.stdout)
    records = done.stdout[16:]
    return Trace(unpack_ops(records[: len(records) // OP_BYTES * OP_BYTES]), store=store)
