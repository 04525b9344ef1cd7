"""Turns C into shared objects and one executable, through the store of built files.

It knows compilers, flags and the harness's own sources; what a subject is, the catalogue knows.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from allocator import adapter, artifacts, elf
from allocator.description import Description
from allocator.subject import SubjectError

HARNESS = Path(__file__).resolve().parent / "harness"
# The oldest C library that the built files run on; named, so that the host's does not decide.
TARGET = ("-target", "x86_64-linux-gnu.2.31")
# Compiled into a subject's library, or standing in for libFuzzer: never part of the executor.
NOT_EXECUTOR = frozenset(
    {
        *("bind.c", "bind_process.c", "table.c", "doors.c", "memlib.c", "noise.c"),
        *("cov_stub.c", "runner.c", "tsan_main.c"),
    }
)
# The malloc lab's headers, for an mm.c that comes without them; looked through last.
MEMLIB = HARNESS.parent / "memlib"
COMPILE_SECONDS = 300

_COMMON = ("-g", "-fPIC", "-fno-sanitize=undefined", "-Werror=implicit-function-declaration")
HARNESS_FLAGS = ("-O3", "-std=gnu17", "-Wall", "-Wextra", *_COMMON)
# The allocator's own functions must not be taken for the library's, which a compiler believes to
# know: it would turn a calloc made of malloc and memset into a call of itself.
_OWN_NAMES = (
    *("malloc", "calloc", "realloc", "reallocarray", "free", "strdup", "strndup"),
    *("aligned_alloc", "memalign", "posix_memalign", "valloc", "pvalloc", "malloc_usable_size"),
)
# Thread-local variables become plain ones, so that a restart restores them: everything runs on one
# thread, but where several are promised to be safe.
ONE_THREAD = ("-D__thread=", "-D_Thread_local=")
SUBJECT_FLAGS = (
    # Assertions are part of what is checked; zig's cc defines NDEBUG wherever it optimises.  A
    # subject's own -DNDEBUG comes later, and counts.
    *("-O2", "-UNDEBUG", *_COMMON, "-fvisibility=hidden", *ONE_THREAD),
    # What many compilers only warn of: pointers to two structures that are meant to be one.
    "-Wno-error=incompatible-pointer-types",
    *(f"-fno-builtin-{name}" for name in _OWN_NAMES),
)
LINK_PREFIXES = ("-l", "-L", "-Wl,", "-pthread")
COVERAGE_FLAGS = ("-fsanitize=fuzzer-no-link", "-fno-sanitize-coverage=stack-depth")
# A call at each access of memory: noise.c has what is called.
NOISE_FLAGS = ("-fsanitize-coverage=trace-pc,trace-loads,trace-stores",)
# A counter for each block of code, in the order in which it was written.
LINES_FLAGS = ("-O0", "-fsanitize-coverage=bb,no-prune,inline-8bit-counters,pc-table")


@dataclass(frozen=True)
class Compiler:
    """A C compiler: `command` starts it, `identity` changes when it would build differently.

    processor is the option for the x86-64-v2 instructions, which zig spells its own way.
    """

    command: tuple[str, ...]
    identity: str
    clang: bool
    processor: str = "-march=x86-64-v2"


@dataclass(frozen=True)
class Unit:
    """One source to compile, with all its flags, in the folder that relative flags mean."""

    source: Path
    flags: tuple[str, ...]
    folder: Path


def compiler() -> Compiler:
    """The C compiler: $CC, else the clang in the ziglang package; SubjectError if there is none."""
    return _compiler(os.environ.get("CC", "").strip())


@functools.cache
def _compiler(chosen: str) -> Compiler:
    if chosen:
        return chosen_compiler(shlex.split(chosen))
    found = importlib.util.find_spec("ziglang")
    if not found or not found.origin:
        raise SubjectError("no C compiler: install ziglang (make setup), or set CC")
    zig = Path(found.origin).with_name("zig")
    version = subprocess.run([zig, "version"], capture_output=True, text=True, check=False)
    return Compiler(
        (str(zig), "cc", *TARGET), f"zig {version.stdout.strip()}", True, "-mcpu=x86_64_v2"
    )


def chosen_compiler(command: list[str]) -> Compiler:
    """The compiler that this command starts; SubjectError where there is none."""
    program = shutil.which(command[0])
    if not program:
        raise SubjectError(f"CC={shlex.join(command)}: no such program: correct or unset CC")
    version = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=False
    ).stdout
    status = os.stat(program)
    identity = f"{shlex.join(command)} {version} {status.st_size} {status.st_mtime_ns}"
    return Compiler(tuple(command), identity, clang="clang" in version or "zig" in version)


def compile_object(unit: Unit, tool: Compiler | None = None) -> Path:
    """The object file of one unit, by `tool` or the compiler; SubjectError with its first
    complaint."""
    tool = tool or compiler()

    def produce(target: Path) -> list[Path]:
        return _to_object(tool, unit, target)

    return artifacts.fetch(unit.source.stem, ".o", _recipe(tool, unit), produce)


def compile_ir(unit: Unit) -> Path:
    """The LLVM IR of one unit, as text, by the clang that ziglang carries; SubjectError."""
    tool = _compiler("")

    def produce(target: Path) -> list[Path]:
        # zig writes no IR where a list of dependencies is asked for, so it is asked twice.
        read = _to_object(tool, unit, target.with_suffix(".o"))
        output = ("-o", str(target), "-S", "-emit-llvm", str(unit.source))
        _run([*tool.command, *unit.flags, *output], unit.folder)
        return read

    return artifacts.fetch(unit.source.stem, ".ll", _recipe(tool, unit), produce)


def _recipe(tool: Compiler, unit: Unit) -> dict[str, object]:
    """Everything that decides what comes of a unit, but the headers met on the way."""
    return {
        "compiler": tool.identity,
        "source": unit.source,
        "content": artifacts.digest(unit.source),
        "flags": unit.flags,
        "folder": unit.folder,
        "headers": {str(folder): _header_names(folder) for folder in _include_folders(unit)},
    }


def _to_object(tool: Compiler, unit: Unit, target: Path) -> list[Path]:
    """Compiles; returns the files that were read."""
    depfile = target.with_suffix(".d")
    outputs = ["-MMD", "-MF", str(depfile), "-o", str(target)]
    _run([*tool.command, *unit.flags, *outputs, "-c", str(unit.source)], unit.folder)
    return [unit.folder / name for name in dependencies(depfile.read_text())]


def link(name: str, objects: Sequence[Path], flags: Sequence[str], suffix: str = ".so",
         tool: Compiler | None = None) -> Path:  # fmt: skip
    """Links objects into a shared object (or, with suffix "", whatever `flags` make)."""
    tool = tool or compiler()
    recipe = {
        "compiler": tool.identity,
        "objects": [artifacts.digest(path) for path in objects],
        "flags": list(flags),
    }

    def produce(target: Path) -> list[Path]:
        command = [*tool.command, *map(str, objects), *flags, "-o", str(target)]
        _run(command, artifacts.directory())
        return []

    return artifacts.fetch(name, suffix, recipe, produce)


def harness_flags() -> tuple[str, ...]:
    """How our own C is compiled."""
    return (*HARNESS_FLAGS, compiler().processor)


def shared(
    sources: Iterable[Path], name: str, flags: Sequence[str] = (), include: Iterable[Path] = ()
) -> Path:
    """A shared object of our own C, optimised, without coverage."""
    folders = [f"-I{folder}" for folder in (HARNESS, *include)]
    objects = [
        compile_object(Unit(source, (*harness_flags(), *folders, *flags), source.parent))
        for source in sources
    ]
    return link(name, objects, ["-shared", "-ldl", "-lpthread"])


def executor_sources() -> list[Path]:
    """The C files that make the executor, in a fixed order."""
    return sorted(path for path in HARNESS.glob("*.c") if path.name not in NOT_EXECUTOR)


def harness_library() -> Path:
    """The executor as a shared object, to be loaded into this process."""
    return shared(executor_sources(), "executor")


def runner() -> Path:
    """The executor as a program, which the sandbox starts.

    Its functions are hidden, lest they stand in for a subject's of the same name; only the
    coverage stubs are to be seen.
    """
    own = [HARNESS / name for name in ("runner.c", "cov_stub.c")]
    sources = [*executor_sources(), *own]
    flags = (*harness_flags(), "-fvisibility=hidden", f"-I{HARNESS}")
    objects = [compile_object(Unit(source, flags, HARNESS)) for source in sources]
    return link("runner", objects, ["-rdynamic", "-ldl", "-lpthread"], suffix="")


def subject_library(
    found: Description,
    *,
    coverage: bool = False,
    lines: bool = False,
    noise: bool = False,
    wrapper: Path | None = None,
) -> tuple[Path, Path]:
    """A subject's library and the adapter's source: what was described, bound to the host.

    Coverage counters are compiled into the subject's own sources alone; with `lines`, a counter
    for each block as it was written, slowly, for lines.py to read; with `noise` (and clang), what
    makes free-running threads wait in the middle of things.  A `wrapper` is C that defines some of
    the adapter's functions, and finds those under "sound_" in the place of "allocheck_".
    """
    coverage = coverage or lines
    if coverage and found.sources and not compiler().clang:
        raise SubjectError("coverage needs clang: unset CC to use the one that ziglang carries")
    flags = subject_flags(found)
    face = artifacts.written(f"{found.name}-adapter", ".c", _face(found, wrapper))
    noise = noise and bool(found.sources) and compiler().clang
    counting = LINES_FLAGS if lines else COVERAGE_FLAGS if coverage else ()
    noisy = NOISE_FLAGS if noise else ()
    face_object = compile_object(Unit(face, (*flags, *noisy, "-w"), found.folder))
    own = (*flags, *counting, *noisy)
    objects = [compile_object(Unit(source, own, found.folder)) for source in found.sources]
    objects += [face_object, *_binding(found)]
    if noise:
        objects.append(compile_object(Unit(HARNESS / "noise.c", flags, HARNESS)))
    if wrapper:
        objects.append(compile_object(Unit(wrapper, flags, wrapper.parent)))
    if found.library:
        objects += _doors(found, face_object)
    link_flags = [flag for flag in found.flags if flag.startswith(LINK_PREFIXES)]
    # Without coverage functions, which another library brings, nothing may stay undefined.
    whole = [] if coverage else ["-Wl,-z,defs"]
    options = ["-shared", "-Wl,-Bsymbolic", *whole, *link_flags, "-lm", "-ldl", "-lpthread"]
    return link(found.name, objects, options), face


def _face(found: Description, wrapper: Path | None) -> str:
    """The adapter's C; what a wrapper defines goes by the name that the wrapper calls."""
    text = adapter.write(found)
    names = wrapped_in(wrapper) if wrapper else ()
    return re.sub(rf"\ballocheck_({'|'.join(names)})\b", r"sound_\1", text) if names else text


def wrapped_in(wrapper: Path) -> tuple[str, ...]:
    """The adapter's functions, malloc and so on, that a wrapper defines."""
    text = wrapper.read_text(encoding="utf-8")
    return tuple(sorted(set(re.findall(r"\ballocheck_(\w+)\(", text))))


def _doors(found: Description, face_object: Path) -> list[Path]:
    exported = elf.library(found.library)
    needed = elf.undefined(face_object)
    variables = sorted(needed & exported.variables)
    if variables:
        raise SubjectError(f"variable {variables[0]} of the library: only functions can be reached")
    names = needed & exported.functions
    if not names:
        raise SubjectError(f"[calls] name no function that {found.library.name} exports")
    text = artifacts.written(f"{found.name}-doors", ".c", adapter.doors(found.library, names))
    flags = (*SUBJECT_FLAGS, f"-I{HARNESS}")
    return [compile_object(Unit(source, flags, HARNESS)) for source in (text, HARNESS / "doors.c")]


def probe(found: Description) -> Path:
    """The described sources alone, unoptimised, with debug information: to be read, not run."""
    flags = (*subject_flags(found), "-O0", "-g", "-w")
    objects = [compile_object(Unit(source, flags, found.folder)) for source in found.sources]
    return link(f"{found.name}-probe", objects, ["-shared", "-Wl,-Bsymbolic"])


def subject_flags(found: Description) -> tuple[str, ...]:
    """How a described allocator's sources are compiled, coverage left out."""
    own = [flag for flag in found.flags if not flag.startswith(LINK_PREFIXES)]
    folders = [f"-I{folder}" for folder in found.include]
    return (*_base_flags(found), f"-iquote{found.folder}", *folders, *own, f"-idirafter{MEMLIB}")


def _base_flags(found: Description) -> tuple[str, ...]:
    return tuple(
        flag for flag in SUBJECT_FLAGS if not found.contract.threads or flag not in ONE_THREAD
    )


def _binding(found: Description) -> list[Path]:
    flags = (*_base_flags(found), f"-I{HARNESS}")
    headers = [folder / "memlib.h" for folder in (found.folder, *found.include)]
    texts = [path.read_text(errors="replace") for path in headers if path.is_file()]
    is_int = any(re.search(r"\bmem_sbrk\s*\(\s*int\b", text) for text in texts)
    increment = ("-DMEMLIB_INCREMENT=int",) if is_int else ()
    own = (HARNESS / name for name in ("bind.c", "bind_process.c", "table.c"))
    return [
        *(compile_object(Unit(source, flags, HARNESS)) for source in own),
        compile_object(Unit(HARNESS / "memlib.c", (*flags, *increment), HARNESS)),
    ]


def coverage_stub() -> Path:
    """Empty coverage functions; load RTLD_GLOBAL before a subject that was built with coverage.

    Not beside libFuzzer, whose own functions must be met first.
    """
    return shared([HARNESS / "cov_stub.c"], "coverage_stub")


def dependencies(depfile: str) -> list[str]:
    """The file names in a make rule as compilers write it; the target is left out."""
    text = depfile.replace("\\\n", " ").partition(": ")[2]
    names = re.findall(r"(?:\\.|\$\$|[^\s\\])+", text)
    return [re.sub(r"\\(.)", r"\1", name).replace("$$", "$") for name in names]


def _include_folders(unit: Unit) -> list[Path]:
    options = [flag for flag in unit.flags if flag.startswith("-I")]
    return [unit.source.parent, *(unit.folder / option[2:] for option in options)]


def _header_names(folder: Path) -> list[str]:
    """A header that appears may take the place of another: so their names are part of the key."""
    if not folder.is_dir() or folder == artifacts.directory():  # where many files are, no header
        return []
    return sorted(name for name in os.listdir(folder) if name.endswith(".h"))


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SubjectError(f"the C compiler took over {COMPILE_SECONDS} s: {command[-1]}") from None
    except OSError as error:
        raise SubjectError(f"the C compiler does not start: {error}") from None
    if done.returncode:
        raise SubjectError(condense(done.stderr or done.stdout, done.returncode))


def condense(output: str, status: int = 1) -> str:
    """A compiler's or linker's complaints as one line: the first one, and how many more."""
    errors = [line.strip() for line in output.splitlines() if re.search(r"\berror: ", line)]
    errors = [line for line in errors if "too many errors" not in line]
    if not errors:
        undefined = [line.strip() for line in output.splitlines() if "undefined" in line]
        errors = undefined or [line.strip() for line in output.splitlines() if line.strip()][:1]
    if not errors:
        return f"the C compiler ended with status {status} and said nothing"
    first = errors[0].replace(str(Path.cwd()) + os.sep, "")
    more = len(errors) - 1
    return first + (f" (and {more} more error{'s' if more > 1 else ''})" if more else "")
