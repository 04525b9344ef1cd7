"""The decoder as a process, programs to give it, and what every decoded trace must fulfil.

It asserts what holds of any program; what holds of some, the tests say.
"""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

from fuzz.limits import Limits, Switch
from fuzz.native import request
from models.trace import (
    ALIGNING,
    ALLOCATING,
    NIL,
    OP_BYTES,
    Kind,
    Trace,
    from_text,
    pack_ops,
    to_text,
    unpack_ops,
)

EVERYTHING = Limits(frozenset(Kind), Switch(15), 0, (48, 96, 512))
TRAPS = ("-fsanitize=undefined", "-fsanitize-trap=undefined")


class Decoder:
    """The decoder in a process of its own; `program` is native.decode_program's."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )

    def __call__(
        self, data: bytes, limits: Limits = EVERYTHING, capacity: int = 1 << 16
    ) -> tuple[Trace, int]:
        pipe, answer = self._process.stdin, self._process.stdout
        assert pipe
        assert answer
        pipe.write(request(data, limits.pack(), capacity))
        pipe.flush()
        head = answer.read(16)
        assert len(head) == 16, f"the decoder died of {data.hex()}"
        count, store = struct.unpack("<QQ", head)
        return Trace(unpack_ops(answer.read(count * OP_BYTES))), store

    def close(self) -> int:
        """Ends it; its exit status."""
        assert self._process.stdin
        self._process.stdin.close()
        return self._process.wait()


def programs(count: int, length: int = 400, seed: int = 1) -> list[bytes]:
    """Random programs of so many bytes."""
    source = random.Random(seed)
    return [source.randbytes(length) for _ in range(count)]


def check_valid(trace: Trace, limits: Limits) -> None:
    """What the trace language demands, and what the limits allow."""
    assert unpack_ops(pack_ops(trace.ops)) == trace.ops
    assert from_text(to_text(trace)).ops == trace.ops
    names = [op.name for op in trace if op.kind in ALLOCATING]
    assert names == list(range(len(names)))
    assert {op.kind for op in trace} <= limits.kinds
    for op in trace:
        if op.kind is Kind.FREE and op.first == NIL:
            assert Switch.FREE_NULL in limits.switches
        if op.kind is Kind.REALLOC:
            assert Switch.REALLOC_NULL in limits.switches or op.first != NIL
            assert Switch.REALLOC_ZERO in limits.switches or op.second
        if op.kind in ALIGNING and Switch.INVALID_ALIGNMENT not in limits.switches:
            assert op.alignment >= 8
            assert op.alignment & (op.alignment - 1) == 0
