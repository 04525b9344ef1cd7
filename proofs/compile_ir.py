"""Compiles C to LLVM IR by the clang inside ziglang, cached by content.

It does not read the IR: read_ir.py does.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TARGET = "x86_64-linux-gnu.2.31"
SANITIZED = (
    "pointer-overflow,shift,signed-integer-overflow,bounds,integer-divide-by-zero,"
    "unreachable,return"
)
# Raw: what the programmer wrote, with undefined behaviour turned into branches to a trap.
# Optimised: what the compiler made of it, as a check of the translation.
FLAGS = {
    "raw": (
        "-O1",
        "-Xclang",
        "-disable-llvm-passes",
        f"-fsanitize={SANITIZED}",
        "-fsanitize-trap=all",
    ),
    "optimised": ("-O2", "-fno-sanitize=all", "-fno-vectorize", "-fno-slp-vectorize"),
}
COMMON = (
    *("-target", TARGET, "-S", "-emit-llvm", "-g0", "-fno-strict-aliasing", "-DNDEBUG"),
    "-Werror=implicit-function-declaration",
)


class CompileError(Exception):
    """C that does not compile: the compiler's first error, on one line."""


@dataclass(frozen=True)
class SourceFile:
    """One C file to be proved: its text (perhaps with a planted bug), and where it belongs."""

    path: Path
    text: str
    include: tuple[Path, ...]
    flags: tuple[str, ...] = ()


def compile_ir(source: SourceFile, cache: Path, kind: str = "raw") -> str:
    """The LLVM IR of `source` as text; raises CompileError."""
    flags = (*COMMON, *FLAGS[kind], *source.flags)
    cached = cache / f"{_key(source, flags)}.ll"
    if cached.is_file():
        return cached.read_text()
    text = _run_compiler(source, flags)
    store(cached, text)
    return text


def store(path: Path, text: str) -> None:
    """Writes a cache file in one step, so that a concurrent reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
        draft.write(text)
    os.replace(draft.name, path)


def _key(source: SourceFile, flags: Sequence[str]) -> str:
    digest = hashlib.sha256()
    headers = {header for folder in source.include for header in folder.glob("*.h")}
    parts = [importlib.metadata.version("ziglang"), *flags, source.path.name, source.text]
    parts += [f"{header.name}\n{header.read_text()}" for header in sorted(headers)]
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def _run_compiler(source: SourceFile, flags: Sequence[str]) -> str:
    # Compiled from a fresh folder under its bare name: no path of this machine enters the IR.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / source.path.name).write_text(source.text)
        include = [f"-I{path.resolve()}" for path in source.include]
        command = [sys.executable, "-m", "ziglang", "cc", *flags, *include]
        command += ["-o", "out.ll", source.path.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error:" in line]
            raise CompileError((errors or done.stderr.splitlines() or ["no message"])[0])
        return (Path(folder) / "out.ll").read_text()
