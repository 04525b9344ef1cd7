"""Where in the source an instruction stands, read from the line tables of a module's text.

For messages alone: two modules that differ in lines only are the same module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath


def placed(why: str, function: str, text: str) -> str:
    """A reason that ends in an instruction of the function, with the line that it stands on."""
    told = re.split(r",? ![a-z]+ !\d+", why)[0]
    start = re.search(rf'^define .*@"?{re.escape(function)}"?\(', text, re.MULTILINE)
    shown = re.split(r" #\d+$", told.partition(": ")[2])[0]
    if not (start and shown):
        return told
    body = text[start.start() :].partition("\n}\n")[0]
    found = re.search(rf"^ +{re.escape(shown)}.*!dbg !(\d+)", body, re.MULTILINE)
    where = Lines(text).at(found[1]) if found else ""
    return f"{told} ({where})" if where else told


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


def _file(entry: str, entries: Mapping[str, str]) -> str:
    """The name of the file that an entry, or the scope around it, lies in."""
    while entry:
        name = re.search(r'filename: "([^"]*)"', entry)
        if name:
            return PurePath(name[1]).name
        around = re.search(r"\bfile: !(\d+)", entry) or re.search(r"\bscope: !(\d+)", entry)
        entry = entries.get(around[1], "") if around else ""
    return "?"


def without_lines(text: str) -> str:
    """The text without what tells of lines."""
    code = re.sub(r",? !dbg !\d+", "", text)
    return "\n".join(line for line in code.splitlines() if not line.startswith("!"))


def without_notes(function: str) -> str:
    """A function's text without what tells of lines, and without the numbers of its attributes."""
    return re.sub(r",? ![a-z._]+ !\d+| #\d+", "", function)
