"""From what a user typed to a built subject: a bundled name, a .toml, a .c or a .so.

It finds, describes and builds; it runs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from allocator import bugs, build, description, discover, reach
from allocator.bugs import PlantedBug
from allocator.description import Description
from allocator.subject import Subject, SubjectError

HERE = Path(__file__).resolve().parent
BUG_MARK = "+bugs/"
PLAIN = "subject.toml"
SYSTEM_FOLDERS = tuple(
    Path(folder)
    for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64",
                   "/usr/local/lib", "/usr/lib", "/lib")
)  # fmt: skip


def bundled() -> list[str]:
    """Names of the allocators that come with allocheck, variants left out."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{PLAIN}"))


def gallery() -> list[str]:
    """Every bundled subject that is meant to be correct and for one thread, variants among them."""
    return [each for name in bundled() for each in variants(name) if not _locked(each)]


def threaded() -> list[str]:
    """Every bundled subject that is meant to be correct with several threads."""
    return [each for name in bundled() for each in variants(name) if _locked(each)]


def _locked(name: str) -> bool:
    return name.endswith("+locked")


def variants(name: str) -> list[str]:
    """The subjects that a bundled allocator makes: its own name first, then name+variant."""
    others = (path.stem for path in _bundled_folder(name).glob("*.toml") if path.name != PLAIN)
    return [name, *(f"{name}+{other}" for other in sorted(others))]


def planted_bugs(name: str) -> list[PlantedBug]:
    """The planted bugs of a bundled allocator."""
    return bugs.planted(_bundled_folder(name))


def resolve(
    spec: str,
    *,
    prefix: str | None = None,
    coverage: bool = False,
    lines: bool = False,
    noise: bool = False,
    threads: bool = False,
    flags: tuple[str, ...] = (),
    wrapper: Path | None = None,
) -> Subject:
    """The subject that `spec` means, built.

    spec: NAME, NAME+VARIANT or either with +bugs/BUG, or a path to a .toml, .c or .so.  prefix
    says how the functions of a .c or .so start; coverage builds with counters, lines with
    counters that allocator/lines.py can tell the lines of, noise for threads that run freely;
    threads promises what no contract of a .c or .so can; flags are added to those of a bundled one,
    whose exact model is left out then; wrapper is C that stands before the adapter (build.py).
    Raises SubjectError: one line that says what is wrong and what to do next, with a TOML skeleton
    where that helps.
    """
    is_name = not Path(spec).suffix and "/" not in spec.partition(BUG_MARK)[0]
    try:
        if is_name:
            found = _bundled(spec, prefix, flags)
            notes: tuple[str, ...] = ()
        else:
            found, notes = _described(spec, prefix)
        if threads:
            found = _promised(found, spec)
        how = {"coverage": coverage, "lines": lines, "noise": noise, "wrapper": wrapper}
        return built(found, name=spec, is_bundled=is_name, notes=notes, **how)
    except SubjectError as error:
        raise SubjectError(_named(spec, str(error)), error.skeleton) from None
    except OSError as error:
        raise SubjectError(_named(spec, f"{error.strerror}: {error.filename}")) from None


def _named(spec: str, message: str) -> str:
    """The message under the name of its subject, unless it starts with that file already."""
    start = message.partition(":")[0]
    return message if start.endswith(Path(spec).name) else f"{spec}: {message}"


def _described(spec: str, prefix: str | None) -> tuple[Description, tuple[str, ...]]:
    path = _existing(spec)
    if path.suffix == ".toml":
        if prefix is not None:
            raise SubjectError("a prefix is for .c and .so: the TOML names its calls")
        return description.read(path), ()
    if path.suffix == ".c":
        return discover.in_source(path, prefix)
    if ".so" in Path(spec).suffixes:
        return discover.in_library(path, prefix)
    raise SubjectError("not a subject: give a bundled name, x.toml, x.c or x.so")


def _existing(spec: str) -> Path:
    """The file; a bare libNAME.so.N that is not there is looked for where the system has them."""
    path = Path(spec)
    if path.is_file():
        return path.resolve()
    if path.exists():
        raise SubjectError("not a file: give a bundled name, x.toml, x.c or x.so")
    if path.name == spec and ".so" in path.suffixes:
        for folder in SYSTEM_FOLDERS:
            if (folder / spec).is_file():
                return (folder / spec).resolve()
    raise SubjectError(f"no such file (bundled allocators: {', '.join(bundled())})")


def _bundled_folder(name: str) -> Path:
    if name not in bundled():
        raise SubjectError(_unknown(name, bundled(), "bundled allocator"))
    return HERE / name


def _unknown(name: str, known: Iterable[str], what: str) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"no such {what} (did you mean {close[0]}?)"
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return f"no such {what} (known: {', '.join(known[:8]) or 'none'}{more})"


def _promised(found: Description, spec: str) -> Description:
    """The description with the user's word that it takes threads, where nobody else gives one."""
    if found.contract.threads:
        return found
    if Path(spec).suffix == ".toml":
        raise SubjectError("its [contract] does not promise threads: say threads = true there")
    if not Path(spec).suffix:
        raise SubjectError(f"does not promise threads (of the bundled: {', '.join(threaded())})")
    return replace(found, contract=replace(found.contract, threads=True))


def _bundled(spec: str, prefix: str | None, flags: tuple[str, ...]) -> Description:
    if prefix is not None:
        raise SubjectError("a prefix is for .c and .so")
    whole, mark, bug_name = spec.partition(BUG_MARK)
    name, _, variant = whole.partition("+")
    folder = _bundled_folder(name)
    if whole not in variants(name):
        known = [each.partition("+")[2] for each in variants(name)[1:]]
        raise SubjectError(_unknown(variant, known, f"variant of {name}"))
    found = description.read(folder / (f"{variant}.toml" if variant else PLAIN))
    if mark:
        planted = {bug.name: bug for bug in bugs.planted(folder)}
        if bug_name not in planted:
            raise SubjectError(_unknown(bug_name, planted, "planted bug"))
        found = found.moved(folder, bugs.plant(planted[bug_name], folder))
    if flags:
        found = replace(found, flags=(*found.flags, *flags), model=None)
    return found


def planted(name: str, bug: PlantedBug, flags: tuple[str, ...] = ()) -> Subject:
    """A bundled allocator with a bug in it that stands in nobody's list."""
    folder = _bundled_folder(name)
    found = description.read(folder / PLAIN).moved(folder, bugs.plant(bug, folder))
    found = replace(found, flags=(*found.flags, *flags))
    return built(found, name=f"{name}{BUG_MARK}{bug.name}", is_bundled=True)


def built(
    found: Description,
    *,
    name: str,
    coverage: bool = False,
    lines: bool = False,
    noise: bool = False,
    wrapper: Path | None = None,
    is_bundled: bool = False,
    notes: tuple[str, ...] = (),
) -> Subject:
    """The subject of a description, compiled and linked; SubjectError if it does not build."""
    library, face = build.subject_library(
        found, coverage=coverage, lines=lines, noise=noise, wrapper=wrapper
    )
    subject = Subject(
        name=name,
        contract=found.contract,
        library=library,
        bundled=is_bundled,
        coverage=(coverage or lines) and bool(found.sources),
        prebuilt=found.library,
        forks=found.forks,
        has=found.has,
        model=found.model,
        sources=found.sources,
        include=found.include,
        flags=found.flags,
        folder=found.folder,
        adapter=face,
        walker=found.walker,
        notes=notes,
    )
    return reach.examined(subject) if found.library else subject
