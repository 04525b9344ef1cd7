"""Where in the source an instruction stands, read from the line tables of a module's text.

For messages alone: two modules that differ in lines only are the same module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

_ATTACHED = r",? !(?:[a-zA-Z_.]+ !\d+|srcloc !\d+)"


class Lines:
    """The line tables of a module's text."""

    def __init__(self, text: str) -> None:
        pattern = r"^!(\d+) = (?:distinct )?(!DI\w+\(.*\))$"
        self._entries = dict(re.findall(pattern, text, re.MULTILINE))

    def of_blocks(self, text: str) -> dict[tuple[str, str], str]:
        """(function, block) -> file:line of the first instruction in it that has one."""
        found: dict[tuple[str, str], str] = {}
        function = block = ""
        for line in text.splitlines():
            begins = re.match(r'define .*@"?([^"( ]+)"?\(', line)
            label = re.match(r'"?([^" ]+?)"?:', line)
            if begins:
                function = begins[1]
            elif label:
                block = label[1]
            elif "!dbg !" in line and (function, block) not in found:
                where = self.at(re.search(r"!dbg !(\d+)", line)[1])
                if where:
                    found[function, block] = where
        return found

    def at(self, number: str) -> str:
        """file:line of an entry, "" for line 0: what the compiler made of itself."""
        entry = self._entries.get(number, "")
        line = re.search(r"\bline: (\d+)", entry)
        return f"{_file(entry, self._entries)}:{line[1]}" if line and line[1] != "0" else ""


def places(text: str) -> dict[str, list[str]]:
    """The file:line of each instruction of each function, in order; "" where it is silent."""
    table = Lines(text)
    bodies = re.findall(r'^define .*?@"?([^"(]+)"?\(.*\n((?:.*\n)*?)}$', text, re.MULTILINE)
    return {
        name: _filled([_place(told, table) for told in _instructions(body)])
        for name, body in bodies
    }


def _filled(known: list[str]) -> list[str]:
    """A local variable, say, stands on no line: on that of what follows it, then."""
    following = ""
    for index in reversed(range(len(known))):
        following = known[index] = known[index] or following
    return known


def _instructions(body: str) -> list[str]:
    """A line for each, a switch with its cases."""
    found: list[str] = []
    for line in body.splitlines():
        if re.match(r"  (\]|  )", line) and found:
            found[-1] += line
        elif line.startswith("  "):
            found.append(line)
    return found


def _place(instruction: str, table: Lines) -> str:
    known = re.search(r"!dbg !(\d+)", instruction)
    return table.at(known[1]) if known else ""


def _file(entry: str, table: Mapping[str, str]) -> str:
    """The name of the file that an entry, or the scope around it, lies in."""
    while entry:
        name = re.search(r'filename: "([^"]*)"', entry)
        if name:
            return PurePath(name[1]).name
        around = re.search(r"\bfile: !(\d+)", entry) or re.search(r"\bscope: !(\d+)", entry)
        entry = table.get(around[1], "") if around else ""
    return "?"


def shown(instruction: str) -> str:
    """The text of an instruction without what is attached to it."""
    return re.split(_ATTACHED, instruction)[0]


def without_lines(text: str) -> str:
    """The text without what tells of lines."""
    code = re.sub(r",? !dbg !\d+", "", text)
    return "\n".join(line for line in code.splitlines() if not line.startswith("!"))


def without_notes(function: str) -> str:
    """A function's text without what tells of lines, and without the numbers of its attributes."""
    return re.sub(r",? ![a-z._]+ !\d+| #\d+", "", function)
