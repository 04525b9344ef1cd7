"""The page sources: what page_source.h promises, each by itself and under first_fit.

The one for Windows is compiled and linked; nothing here runs it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from allocator import build
from allocator.catalogue import HERE as FOLDER
from allocator.catalogue import resolve
from fuzz.bench import Bench
from models.contract import Contract
from models.exact.first_fit import ArrayPages, Exact, MappedPages
from models.exact.model import store_of
from models.exact.store import PAGE, Store
from models.observation import Outcome, Run
from models.trace import Trace, from_text
from tests.verdicts import demand_ok, demand_same_layout

HERE = Path(__file__).parent
PROGRAMS = HERE / "subjects" / "page_sources"
FIRST_FIT = FOLDER / "first_fit"
TRACES = [from_text(path.read_text()) for path in sorted((HERE / "traces").rglob("*.trace"))]
SHORT = [trace for trace in TRACES if len(trace) < 50]
FLAGS = ("-std=gnu17", "-O2", "-DNDEBUG", f"-I{FOLDER}", f"-I{FIRST_FIT}")


def program(name: str, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
    """A program of tests/subjects/page_sources/ with the C files that it needs."""
    units = [
        build.Unit(path, (*FLAGS, *flags), path.parent) for path in (PROGRAMS / name, *sources)
    ]
    return build.link(Path(name).stem, list(map(build.compile_object, units)), (), suffix="")


def pages(*names: str) -> list[Path]:
    return [FOLDER / f"page_source_{name}.c" for name in names]


def session(*commands: str) -> list[str]:
    """What the page source that the first command names answers to the others."""
    started = program("session.c", *pages("array", "mapped", "system"))
    text = "\n".join([*commands, ""])
    done = subprocess.run([started], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{commands}: status {done.returncode}"
    return done.stdout.split("\n")[:-1]


# ---- an array ----


@pytest.mark.parametrize("offset", [0, 1, 5, 8, 15, 4095])
def test_an_array_is_handed_out_whole_from_any_address(offset: int) -> None:
    told = session(f"array {offset} 1001", "grow 1", "grow 999", "grow 2", "grow 1", "grow 1")
    assert told == [f"{offset}", f"{offset + 1}", "NULL", f"{offset + 1000}", "NULL"]


def test_an_array_takes_its_end_back_and_clears_it_again() -> None:
    """What the array held, and what was written there since, never shows."""
    told = session("array 3 100", "grow 60", "shrink 61", "shrink 20", "grow 30", "shrink 70")
    assert told == ["3", "no", "yes", "43", "yes"]


def test_an_array_refuses_more_than_there_is() -> None:
    told = session("array 0 0", "grow 1", f"grow {2**64 - 1}", "shrink 1", "map 4096", "grow 0")
    assert told == ["NULL", "NULL", "no", "no", "0"]
    assert session("array 0 8192", "grow 4096", "extend 4096 8192") == ["0", "no"]


# ---- the program break ----


def test_the_break_reads_zero_again_after_it_was_moved_back() -> None:
    """The kernel keeps the page that the break was moved back into, as it is."""
    told = session("system", "grow 5000", "shrink 4990", "grow 9000", "shrink 9010", "grow 10")
    assert told == ["0", "yes", "10", "yes", "0"]


def test_what_lies_below_a_gap_is_not_given_back() -> None:
    told = session(
        *("system", "grow 1000", "foreign 24", "shrink 8", "grow 100", "shrink 101", "shrink 100"),
        *("shrink 1", "grow 10"),
    )
    assert told == ["0", "no", "1024", "no", "yes", "no", "1024"]


# ---- mapped regions ----


def test_a_region_is_extended_where_it_lies() -> None:
    told = session("mapped", "grow 100", "taken", f"grow {4 * PAGE}", "taken")
    assert told == ["0", "####" + 60 * ".", "100", 8 * "#" + 56 * "."]


def test_a_region_that_cannot_be_extended_is_left_for_another() -> None:
    """Its unused pages go back, also where the new region lies below the old one."""
    told = session(
        *("mapped", "place 20", f"grow {PAGE + 1}", "fixed 1", "place 40", f"grow {4 * PAGE}"),
        *("taken", "place 4", f"grow {PAGE}", "taken", f"shrink {PAGE}", f"shrink {PAGE}"),
    )
    after = 20 * "." + "##" + 18 * "." + "####" + 20 * "."
    assert told == [
        *(str(20 * PAGE), str(40 * PAGE), after, str(4 * PAGE)),
        *("....####" + after[8:], "yes", "no"),
    ]


def test_a_region_right_behind_joins() -> None:
    told = session("mapped", "grow 100", "fixed 1", f"grow {5 * PAGE}", f"shrink {5 * PAGE + 100}")
    assert told == ["0", "100", "yes"]


def test_a_refusal_changes_nothing() -> None:
    told = session(
        *("mapped", "grow 100", "fixed 1", "full 1", f"grow {5 * PAGE}", f"grow {2**64 - 1}"),
        *("grow 100", "fixed 0", f"grow {5 * PAGE}"),
    )
    assert told == ["0", "NULL", "NULL", "100", "200"]


def test_whole_pages_are_unmapped_and_the_rest_is_cleared() -> None:
    told = session("mapped", f"grow {3 * PAGE}", f"shrink {2 * PAGE + 9}", "taken", f"grow {PAGE}")
    assert told == ["0", "yes", "#" + 63 * ".", str(PAGE - 9)]
    assert session("mapped", "grow 9", "shrink 10", "shrink 9", "taken") == [
        "0",
        "no",
        "yes",
        64 * ".",
    ]


# ---- first_fit on them ----


def described(folder: Path, variant: str, text: str) -> str:
    """A description that extends a variant of first_fit; what the catalogue calls it."""
    path = folder / "described.toml"
    path.write_text(f'extends = "{FIRST_FIT / variant}"\n{text}')
    return str(path)


def demand_all_ok(bench: Bench) -> None:
    """All short traces of all bugs, on the default store, with the layout of the exact model."""
    for trace in SHORT:
        same = Trace(trace.ops, bench.subject.name)
        demand_same_layout(bench, same, demand_ok(bench, same))


@pytest.mark.parametrize(("offset", "cut"), [(1, 0), (5, 3), (8, 8), (15, 31)])
def test_an_odd_arena_will_do(tmp_path: Path, offset: int, cut: int) -> None:
    arena = f"(char *)arena + {offset}, arena_size - {offset + cut}"
    init = f'[calls]\ninit = "mem_open(&heap, page_source_array(&array, {arena}))"\n'

    def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
        array = ArrayPages(offset, run.arena_size - cut)
        return Exact(contract, store_of(trace, run), run.base, array)

    with Bench(resolve(described(tmp_path, "array.toml", init))) as bench:
        bench.predict = predict
        demand_all_ok(bench)


class Descending(Store):
    """The page source of descending.h: one pool, regions from its top down, a page between."""

    POOL = 1024 * PAGE

    def __init__(self, store: Store) -> None:
        super().__init__(store.size, store.maps)
        self.below = store
        self.pool: int | None = None
        self.lowest = 0

    def map(self, size: int) -> int | None:
        if self.pool is None:
            self.pool = self.below.map(self.POOL)
            if self.pool is None:
                return None
            self.lowest = self.pool + self.POOL
        if size + PAGE > self.lowest - self.pool:
            return None
        self.lowest -= size + PAGE
        return self.lowest

    def extend(self, region: int, size: int, new_size: int) -> bool:
        return False

    def unmap(self, region: int, size: int) -> None:
        pass


def test_regions_that_lie_ever_lower_will_do(tmp_path: Path) -> None:
    text = f"""
include = ["{FIRST_FIT}", "{FOLDER}", "{PROGRAMS}"]
headers = ["first_fit.h", "descending.h"]
[calls]
init = "mem_open(&heap, page_source_mapped(&mapped, &descending))"
declare = "static struct page_source_mapped mapped;"
[contract]
coalesces = false
reclaims = false
"""

    def predict(trace: Trace, run: Run, contract: Contract) -> Exact:
        store = store_of(trace, run)
        return Exact(contract, store, run.base, MappedPages(Descending(store)))

    with Bench(resolve(described(tmp_path, "mmap.toml", text))) as bench:
        bench.predict = predict
        demand_all_ok(bench)
        rows = from_text("p0 = malloc 9000\np1 = malloc 9000\np2 = malloc 5000\nfree p0\n")
        run = demand_ok(bench, rows)
        assert run.observations[0].address > run.observations[1].address
        demand_same_layout(bench, rows, run)


VARIANTS = pytest.mark.parametrize("variant", ["subject", "mmap", "array"])
FAR = (-(2**40), -64, 16, 800, 10**6, 2**40, 2**47, 2**62)


@VARIANTS
def test_a_pointer_into_a_payload_is_met(tmp_path: Path, variant: str) -> None:
    """Not promised, since bytes there can imitate a header: these do not."""
    promise = '[contract]\ndetects = { double_free = "abort", interior_free = "abort" }\n'
    with Bench(resolve(described(tmp_path, f"{variant}.toml", promise))) as bench:
        for distance in (1, 8, 16, 32, 48, 96, 192):
            text = f"p0 = malloc 24\np1 = malloc 200\nfree p0\ninterior_free p1 {distance}\n"
            run = bench.execute(from_text(text))
            assert (run.outcome, run.done) == (Outcome.ABORT, 3), distance
            assert bench.judge(from_text(text), run).ok


@VARIANTS
def test_a_pointer_outside_the_heap_is_met(tmp_path: Path, variant: str) -> None:
    """By abort(), and nothing is read there: no fault.  The block's size says how far to go."""
    far = f"((const intptr_t[]){{ {', '.join(map(str, FAR))} }})"
    index = "mem_usable_size(&heap, ptr) / 16 - 1"
    calls = f'[calls]\nfree = "mem_free(&heap, (void *)((uintptr_t)ptr + {far}[{index}]))"\n'
    with Bench(resolve(described(tmp_path, f"{variant}.toml", calls))) as bench:
        for number, distance in enumerate(FAR):
            run = bench.execute(from_text(f"p0 = malloc {24 + 16 * number}\nfree p0\n"))
            assert (run.outcome, run.done) == (Outcome.ABORT, 1), distance


@pytest.mark.parametrize("flags", [(), ("-DMAPPED",), ("-DARRAY",)], ids=["sbrk", "mmap", "array"])
def test_first_fit_runs_on_the_real_thing(flags: tuple[str, ...]) -> None:
    """In a process of its own, without the harness: the kernel's sbrk and mmap."""
    sources = [FIRST_FIT / "first_fit.c", *pages("array", "mapped", "system")]
    done = subprocess.run(
        [program("exercise.c", *sources, flags=flags)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("ok"), done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(("kind", "flags"), [("exe", ()), ("dll", ("-shared",))])
def test_it_compiles_and_links_for_windows(tmp_path: Path, kind: str, flags: tuple) -> None:
    """Compiled, not run."""
    command = build.compiler().command
    if "-target" not in command:
        pytest.skip("CC is set: only the compiler in the ziglang package makes Windows programs")
    zig = command[: command.index("-target")]
    target = tmp_path / f"exercise.{kind}"
    sources = [PROGRAMS / "exercise.c", FIRST_FIT / "first_fit.c", *pages("mapped", "windows")]
    options = ["-target", "x86_64-windows-gnu", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    done = subprocess.run(
        [*zig, *options, *FLAGS, *flags, *sources, "-o", target],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    image = target.read_bytes()
    header = int.from_bytes(image[0x3C:0x40], "little")
    assert image[header : header + 6] == b"PE\0\0\x64\x86"
