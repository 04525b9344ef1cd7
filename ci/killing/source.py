"""An allocator's C as mutation sees it: its files, their functions, and which of them only check.

It parses, and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_c
from tree_sitter import Language, Node, Parser, Tree

from allocator.bugs import PARTS
from allocator.description import Description
from allocator.subject import SubjectError

_PARSER = Parser(Language(tree_sitter_c.language()))
_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
_LOOKING = ("check", "walk")  # the calls that look at the heap and are no part of it


@dataclass(frozen=True)
class File:
    """One file of an allocator; `name` is as a planted bug would name it: x.c or parts/x.h."""

    name: str
    text: str
    tree: Tree


@dataclass(frozen=True)
class Source:
    """The files of an allocator, and the names of its functions that only look at the heap."""

    files: tuple[File, ...]
    checkers: frozenset[str]


def read(found: Description) -> Source:
    """What may be mutated of a described allocator: its own sources, and the shared parts that
    they include.  Raises SubjectError where there is no source, or it is not C."""
    own = [path for path in found.sources if path.is_relative_to(found.folder)]
    if not own:
        raise SubjectError(f"{found.name}: no source of its own to mutate")
    files = [parse(name, path.read_text()) for name, path in sorted(_reached(own, found).items())]
    looked = " ".join(found.calls.get(each, "") for each in _LOOKING)
    return Source(tuple(files), checkers(files, re.findall(r"(\w+)\s*\(", looked)))


def parse(name: str, text: str) -> File:
    """A file of C; SubjectError names a line that is none."""
    tree = _PARSER.parse(text.encode())
    if tree.root_node.has_error:
        wrong = next(node for node in nodes(tree.root_node) if node.is_error or node.is_missing)
        raise SubjectError(f"{name}:{wrong.start_point.row + 1}: cannot be parsed as C")
    return File(name, text, tree)


def _reached(own: Iterable[Path], found: Description) -> Mapping[str, Path]:
    """The sources and what they include, of the allocator's folder and of the shared parts."""
    reached: dict[str, Path] = {}
    waiting = list(own)
    while waiting:
        path = waiting.pop()
        name = _name(path, found.folder)
        if name is None or name in reached:
            continue
        reached[name] = path
        for included in _INCLUDE.findall(path.read_text()):
            places = (path.parent, found.folder, *found.include)
            there = [place / included for place in places if (place / included).is_file()]
            waiting += there[:1]
    return reached


def _name(path: Path, folder: Path) -> str | None:
    path = path.resolve()
    if path.parent == folder.resolve():
        return path.name
    return f"{PARTS.name}/{path.name}" if path.parent == PARTS else None


def nodes(root: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the text."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def function_name(node: Node) -> str:
    """The name of a function_definition."""
    declarator = node.child_by_field_name("declarator")
    while declarator is not None and declarator.type != "identifier":
        inner = declarator.child_by_field_name("declarator")
        declarator = inner if inner is not None else next(iter(declarator.named_children), None)
    return (declarator.text or b"").decode() if declarator is not None else ""


def functions(file: File) -> Iterator[tuple[str, Node]]:
    """(name, definition) of every function of a file."""
    for node in nodes(file.tree.root_node):
        if node.type == "function_definition":
            yield function_name(node), node


def checkers(files: Iterable[File], looking: Iterable[str]) -> frozenset[str]:
    """The functions in `looking`, and those that nobody but such functions refers to."""
    uses: dict[str, set[str]] = {}
    for file in files:
        for name, node in functions(file):
            words = {(n.text or b"").decode() for n in nodes(node) if n.type == "identifier"}
            uses.setdefault(name, set()).update(words - {name})
    found = {name for name in looking if name in uses}
    grown = True
    while grown:
        more = {
            name for name in set(uses) - found if _users(name, uses) and _users(name, uses) <= found
        }
        found |= more
        grown = bool(more)
    return frozenset(found)


def _users(name: str, uses: Mapping[str, set[str]]) -> set[str]:
    return {user for user, words in uses.items() if name in words}
