"""Automatic mutants: an allocator's source with one small edit, under a name that lasts.

It makes texts and builds none; targets.py compiles them, schedule.py sets the engines on them.
"""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from ci.killing.operators import Edit, edits, text_of
from ci.killing.source import File, Source, function_name

OUTSIDE = "(file)"  # stands for the function of an edit that is in none


@dataclass(frozen=True)
class Mutant:
    """One file of an allocator with one edit.

    `name` says where it is (file:line:operator:number) and moves with the lines; `identity` (file,
    function, operator, the text before and after, its ordinal among equal ones) does not.  The
    bytes [start, end) of `before` became `text`.
    """

    name: str
    identity: str
    file: str
    function: str
    operator: str
    before: str
    after: str
    start: int
    end: int
    text: str

    @property
    def diff(self) -> str:
        """A unified diff of the file, paths as git writes them."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            f"a/{self.file}",
            f"b/{self.file}",
        )
        return "".join(lines)


def mutants_of(source: Source) -> list[Mutant]:
    """All mutants, file by file, in the order of the text; equal texts are one mutant."""
    return [each for file in source.files for each in _of_file(file, source.checkers)]


def drawn(mutants: Sequence[Mutant], seed: int) -> list[Mutant]:
    """All of them in an order from which the first N are a sample: the operators in turn."""
    draw = random.Random(seed)
    queues: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        queues.setdefault(mutant.operator, []).append(mutant)
    for queue in queues.values():
        draw.shuffle(queue)
    order: list[Mutant] = []
    while len(order) < len(mutants):
        order += [queue.pop() for queue in queues.values() if queue]
    return order


def _of_file(file: File, checkers: frozenset[str]) -> Iterator[Mutant]:
    data = file.text.encode()
    seen = {data}
    on_line: Counter[tuple[int, str]] = Counter()
    alike: Counter[str] = Counter()
    for function, edit in _edits(file.tree.root_node, checkers):
        text = data[: edit.start] + edit.text.encode() + data[edit.end :]
        if text in seen:
            continue
        seen.add(text)
        line = edit.shown.start_point.row + 1
        on_line[line, edit.operator] += 1
        told = f"{file.name} {function} {edit.operator} {_quoted(data, edit)}"
        alike[told] += 1
        yield Mutant(
            name=f"{file.name}:{line}:{edit.operator}:{on_line[line, edit.operator]}",
            identity=f"{told} #{alike[told]}",
            file=file.name,
            function=function,
            operator=edit.operator,
            before=file.text,
            after=text.decode(),
            start=edit.start,
            end=edit.end,
            text=edit.text,
        )


def _edits(root: Node, checkers: frozenset[str]) -> Iterator[tuple[str, Edit]]:
    """(function, edit) of a whole file; checkers and assertions are passed by."""
    waiting = [(root, OUTSIDE)]
    while waiting:
        node, function = waiting.pop()
        if node.type == "function_definition":
            function = function_name(node)
        if function in checkers or _is_assertion(node) or node.type.startswith("preproc_inc"):
            continue
        yield from ((function, edit) for edit in edits(node))
        waiting.extend((child, function) for child in reversed(node.children))


def _is_assertion(node: Node) -> bool:
    """An assertion is one more check: what is checked is the code without it."""
    called = re.match(r"(_Static_|static_)?assert\b", text_of(node))
    return bool(called) and node.type in ("expression_statement", "static_assert_declaration")


def _quoted(data: bytes, edit: Edit) -> str:
    shown = edit.shown
    # A swap of arguments lies inside the call, a removal is the whole statement.
    start, end = min(shown.start_byte, edit.start), max(shown.end_byte, edit.end)
    before = data[start:end].decode()
    after = (data[start : edit.start] + edit.text.encode() + data[edit.end : end]).decode()
    return f"`{_line(before)}` -> `{_line(after)}`"


def _line(text: str) -> str:
    return " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.S).split())
