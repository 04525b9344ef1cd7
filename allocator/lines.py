"""Which lines of C stand behind each coverage counter of a library, by its debug information.

It reads a built file and loads nothing; for a build without optimisation (build.py: LINES), in
which each block of code has a counter and the instructions of a block lie together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

PCS = "__sancov_pcs"
_ENTRY = 16  # bytes of a program counter and its flags
_RELATIVE = 8  # R_X86_64_RELATIVE

Place = tuple[Path, int]


def lines_of_counters(library: Path) -> list[frozenset[Place]]:
    """(file, line) of the code that counter i counts, for each i; empty without a table."""
    with library.open("rb") as stream:
        elf = ELFFile(stream)
        starts = _starts(elf)
        found: list[set[Place]] = [set() for _ in starts]
        order = sorted(range(len(starts)), key=starts.__getitem__)
        sorted_starts = [starts[index] for index in order]
        for rows in _tables(elf.get_dwarf_info(follow_links=False)):
            if not set(starts) & {address for address, _ in rows}:
                continue  # a source that was built without counters
            for address, place in rows:
                found[order[bisect_right(sorted_starts, address) - 1]].add(place)
        return [frozenset(places) for places in found]


def _starts(elf: ELFFile) -> list[int]:
    """Where the code of each counter begins; the linker left them to be relocated."""
    table = elf.get_section_by_name(PCS)
    if table is None:
        return []
    first, count = table["sh_addr"], table["sh_size"] // _ENTRY
    starts = [0] * count
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        for entry in section.iter_relocations():
            index, rest = divmod(entry["r_offset"] - first, _ENTRY)
            if 0 <= index < count and not rest and entry["r_info_type"] == _RELATIVE:
                starts[index] = entry["r_addend"]
    return starts


def _tables(dwarf: DWARFInfo) -> Iterator[list[tuple[int, Place]]]:
    """The (address, place) rows of each source that was compiled."""
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        folder = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
        root = folder.value.decode(errors="replace") if folder else ""
        files: dict[int, Path] = {}
        rows: list[tuple[int, Place]] = []
        for entry in program.get_entries():
            state = entry.state
            if state is None or state.end_sequence or not state.line:
                continue
            if state.file not in files:
                files[state.file] = _file(program, state.file, root)
            rows.append((state.address, (files[state.file], state.line)))
        yield rows


def _file(program: object, number: int, root: str) -> Path:
    header = program.header  # type: ignore[attr-defined]
    since_five = header["version"] >= 5
    entry = header["file_entry"][number if since_five else number - 1]
    folders = [each.decode(errors="replace") for each in header["include_directory"]]
    if not since_five:
        folders.insert(0, root)
    folder = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
    return Path(PurePosixPath(root, folder, entry.name.decode(errors="replace")))
