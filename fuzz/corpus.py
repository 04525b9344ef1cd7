"""A subject's corpus: readable traces, beside each operation the bytes that mean it.

It runs and judges nothing; what a trace covers, the survey of worker.py says.  libFuzzer works on
bytes, in a folder of programs that lasts as long as a campaign.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.findings import write_whole
from fuzz.limits import OPERATION_BYTES, PROFILE_BYTES
from fuzz.native import decode_all
from models.trace import Trace, TraceError, from_text, pack_ops, to_text

COLUMN = 32  # where the bytes begin
_PROFILE = re.compile(rf"^# profile: ([0-9a-f]{{{2 * PROFILE_BYTES}}})$", re.M)
_BYTES = re.compile(rf"^[^#\n]*\S[^#\n]*#\s*([0-9a-f]{{{2 * OPERATION_BYTES}}})\s*$", re.M)


def digest(trace: Trace) -> str:
    """The name of a trace, after what it does: 16 hexadecimal digits."""
    content = pack_ops(trace.ops) + trace.store.to_bytes(8, "little")
    return hashlib.sha256(content).hexdigest()[:16]


def annotated(trace: Trace, program: bytes) -> str:
    """The trace's text with the program's bytes as comments."""
    profile, rest = program[:PROFILE_BYTES], program[PROFILE_BYTES:]
    head = to_text(trace.with_ops(())).rstrip("\n")
    lines = [head, f"# profile: {profile.hex()}"]
    for number, op in enumerate(trace.ops):
        piece = rest[number * OPERATION_BYTES : (number + 1) * OPERATION_BYTES]
        lines.append(f"{op!s:{COLUMN}}# {piece.hex()}")
    return "\n".join([*lines, ""])


def program_in(text: str) -> bytes:
    """The bytes that an annotated trace bears; b"" where it bears none."""
    profile = _PROFILE.search(text)
    return bytes.fromhex(profile[1] + "".join(_BYTES.findall(text))) if profile else b""


@dataclass
class Corpus:
    """The traces in a folder, each in a file named after its content.

    `limits` is the packed record that gives bytes their meaning.  What cannot be used is told in
    `notes`, and left where it is.
    """

    folder: Path
    limits: bytes
    notes: list[str] = field(default_factory=list)
    _unpacked: set[str] = field(default_factory=set)
    _not_mutated: int = 0

    def names(self) -> list[str]:
        """The digests of its traces."""
        return sorted(path.stem for path in self.folder.glob("*.trace"))

    def unpack(self, programs: Path) -> int:
        """Puts the programs of all traces into a folder, named after them; how many.

        A trace that a person wrote or changed has no bytes that mean it: it is left out.
        """
        programs.mkdir(parents=True, exist_ok=True)
        texts = dict(self._texts())
        bearing = {path: program_in(text) for path, text in texts.items()}
        found = [(path, program) for path, program in bearing.items() if program]
        meant = decode_all([program for _, program in found], self.limits)
        usable = {
            path: program
            for (path, program), trace in zip(found, meant, strict=True)
            if texts[path] == annotated(trace, program) or self._means(texts[path], trace, path)
        }
        for path, program in usable.items():
            (programs / path.stem).write_bytes(program)
        self._unpacked = {path.stem for path in usable}
        bare = [path for path, program in bearing.items() if not program]
        self._not_mutated += sum(self._parsed(texts[path], path) is not None for path in bare)
        if self._not_mutated:
            count = f"{self._not_mutated} trace(s)"
            self.notes.append(f"corpus: {count} whose bytes do not mean them: not mutated")
        return len(usable)

    def _texts(self) -> Iterator[tuple[Path, str]]:
        for path in sorted(self.folder.glob("*.trace")):
            try:
                yield path, path.read_text()
            except (OSError, UnicodeDecodeError) as error:
                self._leave_out(path, error)

    def _parsed(self, text: str, path: Path) -> Trace | None:
        try:
            return from_text(text)
        except TraceError as error:
            self._leave_out(path, error)
            return None

    def _means(self, text: str, trace: Trace, path: Path) -> bool:
        """Whether a text that is not as we write it says what its bytes mean."""
        parsed = self._parsed(text, path)
        same = parsed is not None and digest(parsed) == digest(trace)
        self._not_mutated += parsed is not None and not same
        return same

    def _leave_out(self, path: Path, error: Exception) -> None:
        self.notes.append(f"corpus: {path.name}: left out: {error}")

    def absorb(self, programs: Path, only: frozenset[str] | None = None) -> list[str]:
        """Turns programs into traces, those named `only` or all; the digests that are new."""
        chosen = [path for path in _files(programs) if only is None or path.name in only]
        contents = [content for path in chosen if (content := _content(path))]
        meant = decode_all(contents, self.limits)
        pairs = zip(meant, contents, strict=True)
        fresh = {digest(trace): (trace, program) for trace, program in pairs if trace.ops}
        return [
            name for name, pair in fresh.items() if self._add(name, lambda p=pair: annotated(*p))
        ]

    def take(self, texts: Iterable[str]) -> list[str]:
        """Adds traces, each as a whole file or not at all; the digests that are new."""
        named = ((digest(from_text(text)), text) for text in texts)
        return [name for name, text in named if self._add(name, lambda t=text: t)]

    def _add(self, name: str, text: Callable[[], str]) -> bool:
        """Whether it was not there; only then the text is made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.trace"
        if path.exists():
            return False
        write_whole(path, text())
        return True

    def settle(self, programs: Path, kept: frozenset[str] | None = None) -> None:
        """Makes the corpus what the programs are, those named `kept` or all, and removes them.

        A trace whose program is not kept goes: another covers what it covers.
        """
        if kept is not None:
            for name in self._unpacked - kept:
                (self.folder / f"{name}.trace").unlink(missing_ok=True)
        self.absorb(programs, kept)
        shutil.rmtree(programs, ignore_errors=True)

    def texts(self) -> dict[str, str]:
        """Digest to text, of what can be read."""
        readable = self._texts()
        return {path.stem: text for path, text in readable if self._parsed(text, path) is not None}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file())


def _content(path: Path) -> bytes:
    """A program; b"" for one that somebody took away meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
