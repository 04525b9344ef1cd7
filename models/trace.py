"""The trace language: a trace is a value, complete before it runs; it names blocks, not addresses.

It knows no engine and no allocator; C sees the same operations as the flat records of
allocator/harness/layout.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

FORMAT = 1
NIL = 2**64 - 1
NO_NAME = 2**32 - 1
DENY_ALL = NIL
MAX_OPS = 2**31
THREADS = 16  # thread numbers are below this; 0 is the one that begins and ends a run

_CONSTANTS = {
    "SIZE_MAX": 2**64 - 1,
    "PTRDIFF_MAX": 2**63 - 1,
    "UINT32_MAX": 2**32 - 1,
    "INT32_MAX": 2**31 - 1,
}
_FREE_RUNNING = "free-running"
_RECORD = struct.Struct("<B3xIQQ")
OP_BYTES = _RECORD.size


class TraceError(ValueError):
    """A text that is not a trace: the message names the line and what was expected."""


class Kind(IntEnum):
    """What an operation does; the numbers are those of `enum op_kind`."""

    MALLOC = 1
    CALLOC = 2
    REALLOC = 3
    ALIGNED_ALLOC = 4
    MEMALIGN = 5
    POSIX_MEMALIGN = 6
    FREE = 7
    WRITE = 8
    DENY = 9
    FOREIGN = 10
    DOUBLE_FREE = 11
    INTERIOR_FREE = 12
    FREE_ALL = 13
    THREAD = 14
    END_THREAD = 15
    REALLOC_FREED = 16


ALLOCATING = frozenset(
    {
        Kind.MALLOC,
        Kind.CALLOC,
        Kind.REALLOC,
        Kind.ALIGNED_ALLOC,
        Kind.MEMALIGN,
        Kind.POSIX_MEMALIGN,
    }
)
ALIGNING = frozenset({Kind.ALIGNED_ALLOC, Kind.MEMALIGN, Kind.POSIX_MEMALIGN})
# Only where the contract promises that they are detected.
MISUSES = frozenset({Kind.DOUBLE_FREE, Kind.INTERIOR_FREE, Kind.REALLOC_FREED})

# Operand types in the order of the text: b = block or NULL, n = number, d = number, all or none.
_OPERANDS = {
    Kind.MALLOC: "n",
    Kind.CALLOC: "nn",
    Kind.REALLOC: "bn",
    Kind.ALIGNED_ALLOC: "nn",
    Kind.MEMALIGN: "nn",
    Kind.POSIX_MEMALIGN: "nn",
    Kind.FREE: "b",
    Kind.WRITE: "b",
    Kind.DENY: "d",
    Kind.FOREIGN: "n",
    Kind.DOUBLE_FREE: "b",
    Kind.INTERIOR_FREE: "bn",
    Kind.FREE_ALL: "",
    Kind.THREAD: "n",
    Kind.END_THREAD: "n",
    Kind.REALLOC_FREED: "bn",
}
_VERBS = {kind.name.lower(): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    `first` and `second` are the operands in the order of the text form (`p2 = realloc p0 128` is
    `Op(REALLOC, 2, 0, 128)`); a block operand is the number of its name, or NIL for NULL.
    """

    kind: Kind
    name: int = NO_NAME
    first: int = 0
    second: int = 0

    @property
    def size(self) -> int:
        """Bytes that an allocating operation asks for; a calloc product may exceed 2**64."""
        if self.kind is Kind.MALLOC:
            return self.first
        return self.first * self.second if self.kind is Kind.CALLOC else self.second

    @property
    def alignment(self) -> int:
        """Alignment that an aligning operation asks for, else 0."""
        return self.first if self.kind in ALIGNING else 0

    @property
    def block(self) -> int | None:
        """Number of the block operand (NIL for NULL), None where the kind has none."""
        return self.first if _OPERANDS[self.kind].startswith("b") else None

    def __str__(self) -> str:
        operands = zip(_OPERANDS[self.kind], (self.first, self.second), strict=False)
        words = [self.kind.name.lower(), *(_operand_text(*pair) for pair in operands)]
        made = f"p{self.name} = " if self.kind in ALLOCATING else ""
        return made + " ".join(words)


@dataclass(frozen=True, slots=True)
class Trace:
    """A program of operations, with what its file says of it.

    `store` is in bytes (0: the subject's default); `expect` is the rule that `subject` must
    break, or "ok"; None where the file makes no promise.  `free_running`: it is shown by threads
    that all run at once, each its own operations, and not each time.
    """

    ops: tuple[Op, ...] = ()
    subject: str | None = None
    store: int = 0
    expect: str | None = None
    comments: tuple[str, ...] = field(default=(), compare=False)
    free_running: bool = False

    def __len__(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def with_ops(self, ops: Iterable[Op]) -> Trace:
        """The same trace with other operations."""
        return replace(self, ops=tuple(ops))


def number_text(value: int) -> str:
    """A number as people write it: SIZE_MAX-8 rather than 18446744073709551607."""
    for name, constant in _CONSTANTS.items():
        if abs(value - constant) <= 4096:
            distance = value - constant
            return name if not distance else f"{name}{distance:+d}"
    return str(value)


def to_text(trace: Trace) -> str:
    """The text form: header comments, then one operation a line; ends with a newline."""
    lines = [f"# format: {FORMAT}"]
    if trace.subject:
        lines.append(f"# subject: {trace.subject}")
    if trace.store:
        lines.append(f"# store: {trace.store}")
    if trace.expect:
        lines.append(f"# expect: {trace.expect}")
    if trace.free_running:
        lines.append(f"# schedule: {_FREE_RUNNING}")
    lines += [f"# {comment}" for comment in trace.comments]
    return "\n".join([*lines, *map(str, trace.ops), ""])


def from_text(text: str) -> Trace:
    """Parses the text form; raises TraceError with the line's number."""
    header: dict[str, str] = {}
    comments: list[str] = []
    ops: list[Op] = []
    made: set[int] = set()
    for number, raw in enumerate(text.splitlines(), 1):
        line, _, comment = raw.partition("#")
        if not line.strip():
            _read_comment(comment.strip(), header, comments)
            continue
        try:
            op = _parse_op(line.split())
            _check_names(op, made)
        except TraceError as error:
            raise TraceError(f"line {number}: {error}: {raw.strip()!r}") from None
        ops.append(op)
    if header.get("format", str(FORMAT)) != str(FORMAT):
        raise TraceError(f"format {header['format']} is not format {FORMAT}")
    return Trace(
        tuple(ops),
        header.get("subject"),
        _parse_number(header.get("store", "0")),
        header.get("expect"),
        tuple(comments),
        header.get("schedule") == _FREE_RUNNING,
    )


def pack_ops(ops: Sequence[Op]) -> bytes:
    """The flat records of layout.h, OP_BYTES each."""
    pack = _RECORD.pack
    return b"".join(pack(op.kind, op.name, op.first, op.second) for op in ops)


def unpack_ops(records: bytes | memoryview) -> tuple[Op, ...]:
    """The operations in flat records; the inverse of pack_ops."""
    return tuple(
        Op(Kind(kind), name, first, second)
        for kind, name, first, second in _RECORD.iter_unpack(records)
    )


def _operand_text(kind: str, value: int) -> str:
    if kind == "b":
        return "NULL" if value == NIL else f"p{value}"
    if kind == "d" and value in (0, DENY_ALL):
        return "all" if value else "none"
    return number_text(value)


def _read_comment(comment: str, header: dict[str, str], comments: list[str]) -> None:
    match = re.fullmatch(r"(format|subject|store|expect|schedule):\s*(\S+)(?:\s+#.*)?", comment)
    if match:
        header[match[1]] = match[2]
    elif comment:
        comments.append(comment)


def _parse_op(words: list[str]) -> Op:
    name = NO_NAME
    if len(words) > 2 and words[1] == "=":
        name = _parse_name(words[0])
        words = words[2:]
    kind = _VERBS.get(words[0])
    if kind is None:
        raise TraceError(f"no operation {words[0]!r}")
    if (kind in ALLOCATING) != (name != NO_NAME):
        raise TraceError("an allocation, and nothing else, makes a name (pN = ...)")
    types = _OPERANDS[kind]
    if len(words) - 1 != len(types):
        raise TraceError(f"{words[0]} takes {len(types)} operand(s)")
    values = [_parse_operand(*pair) for pair in zip(types, words[1:], strict=True)]
    return Op(kind, name, *values)


def _check_names(op: Op, made: set[int]) -> None:
    if op.block is not None and op.block != NIL and op.block not in made:
        raise TraceError(f"p{op.block} has not been made")
    if op.kind in ALLOCATING:
        if op.name in made:
            raise TraceError(f"p{op.name} is made twice")
        made.add(op.name)


def _parse_name(word: str) -> int:
    if not re.fullmatch(r"p\d+", word) or int(word[1:]) >= MAX_OPS:
        raise TraceError(f"{word!r} is not a name (p0, p1, ...)")
    return int(word[1:])


def _parse_operand(kind: str, word: str) -> int:
    if kind == "b":
        return NIL if word == "NULL" else _parse_name(word)
    if kind == "d" and word in ("all", "none"):
        return DENY_ALL if word == "all" else 0
    return _parse_number(word)


def _parse_number(word: str) -> int:
    match = re.fullmatch(r"([A-Z_0-9]*_MAX)([+-]\d+)?", word)
    try:
        value = _CONSTANTS[match[1]] + int(match[2] or 0) if match else int(word, 0)
    except (KeyError, ValueError):
        raise TraceError(f"{word!r} is not a number") from None
    if not 0 <= value < 2**64:
        raise TraceError(f"{word} is not in 0..SIZE_MAX")
    return value
