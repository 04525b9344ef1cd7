"""The `.rep` trace files of the CS:APP malloc lab, read and written.

Only what the format can say: malloc, realloc and free of numbered blocks.
"""

from __future__ import annotations

from models.trace import NIL, Kind, Op, Trace, TraceError

_HEADER = ("suggested heap size", "number of ids", "number of operations", "weight")
_HEAP_SIZE = 20000


def from_rep(text: str) -> Trace:
    """The trace in a .rep text; raises TraceError with the line's number.

    Four header lines, then `a ID SIZE`, `r ID SIZE`, `f ID` (`f -1` frees NULL).  An id lives on
    through realloc; a trace gives each result a name of its own.
    """
    lines = [(number, raw.split()) for number, raw in enumerate(text.splitlines(), 1)]
    lines = [(number, words) for number, words in lines if words]
    if len(lines) < len(_HEADER):
        raise TraceError(f"line {len(lines) + 1}: {_HEADER[len(lines)]} is missing")
    head = zip(lines, _HEADER, strict=False)
    _, ids, count, _ = (_header_number(number, words, what) for (number, words), what in head)
    reader = _Reader(ids)
    for number, words in lines[len(_HEADER) :]:
        try:
            reader.read(words)
        except TraceError as error:
            raise TraceError(f"line {number}: {error}: {' '.join(words)!r}") from None
    if len(reader.ops) != count:
        told = f"the header announces {count} operations, {len(reader.ops)} follow"
        raise TraceError(f"line {lines[2][0]}: {told}")
    return Trace(tuple(reader.ops))


def to_rep(trace: Trace, weight: int = 1) -> str:
    """The .rep text of a trace; raises TraceError for what the format cannot say.

    calloc becomes malloc of the product, free_all one free for each block that should be live.
    Suggested heap size: the trace's store, else 20000 bytes.
    """
    ids: dict[int, int] = {}
    live: dict[int, int] = {}
    lines: list[str] = []
    for index, op in enumerate(trace):
        try:
            lines += _written(op, ids, live)
        except TraceError as error:
            raise TraceError(f"operation {index}: {error}: {str(op)!r}") from None
    header = (trace.store or _HEAP_SIZE, len(ids), len(lines), weight)
    return "\n".join([*map(str, header), *lines, ""])


class _Reader:
    """Follows which name an id has at the moment."""

    def __init__(self, ids: int) -> None:
        self.ops: list[Op] = []
        self._ids = ids
        self._names: dict[int, int] = {}
        self._made = 0

    def read(self, words: list[str]) -> None:
        verb, *operands = words
        if verb not in ("a", "r", "f"):
            raise TraceError("a line begins with a, r or f")
        if len(operands) != (1 if verb == "f" else 2):
            raise TraceError(f"{verb} takes {'an id' if verb == 'f' else 'an id and a size'}")
        if words == ["f", "-1"]:
            self.ops.append(Op(Kind.FREE, first=NIL))
            return
        identity = _number(operands[0])
        if identity >= self._ids:
            raise TraceError(f"id {identity} is not below the number of ids, {self._ids}")
        if verb == "a":
            self._allocate(identity, _number(operands[1]))
        elif identity not in self._names:
            raise TraceError(f"id {identity} is not allocated")
        elif verb == "f":
            self.ops.append(Op(Kind.FREE, first=self._names.pop(identity)))
        else:
            old = self._names[identity]
            self.ops.append(Op(Kind.REALLOC, self._fresh(identity), old, _number(operands[1])))

    def _allocate(self, identity: int, size: int) -> None:
        if identity in self._names:
            raise TraceError(f"id {identity} is allocated already")
        self.ops.append(Op(Kind.MALLOC, self._fresh(identity), size))

    def _fresh(self, identity: int) -> int:
        name = self._names[identity] = self._made
        self._made += 1
        return name


def _written(op: Op, ids: dict[int, int], live: dict[int, int]) -> list[str]:
    """The lines for one operation; `live` maps the names that should be live to their ids."""
    if op.kind in (Kind.MALLOC, Kind.CALLOC) or (op.kind is Kind.REALLOC and op.first == NIL):
        if op.size >= 2**64:
            raise TraceError("the product does not fit")
        live[op.name] = ids[op.name] = len(ids)
        return [f"a {ids[op.name]} {op.size}"]
    if op.kind is Kind.REALLOC:
        live[op.name] = _live(op.first, live)
        return [f"r {live[op.name]} {op.size}"]
    if op.kind is Kind.FREE:
        return ["f -1" if op.first == NIL else f"f {_live(op.first, live)}"]
    if op.kind is Kind.FREE_ALL:
        return [f"f {live.pop(name)}" for name in sorted(live)]
    raise TraceError(f"{op.kind.name.lower()} cannot be said in .rep")


def _live(name: int, live: dict[int, int]) -> int:
    if name not in live:
        raise TraceError(f"p{name} is dead already")
    return live.pop(name)


def _header_number(number: int, words: list[str], what: str) -> int:
    try:
        (word,) = words
        return _number(word)
    except (TraceError, ValueError):
        raise TraceError(f"line {number}: {what} is a number, not {' '.join(words)!r}") from None


def _number(word: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) >= 2**64:
        raise TraceError(f"{word!r} is not a number in 0..SIZE_MAX")
    return int(word)
