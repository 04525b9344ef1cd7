"""Every offset and number of layout.h against its mirror in Python, as the C compiler sees it.

A small C program prints them; nothing is parsed out of the header.
"""

from __future__ import annotations

import re
import struct
import subprocess

import pytest

from allocator import binding, build, region
from fuzz import job
from models import observation, trace
from models.exact import store as exact_store
from models.observation import DamageKind, Outcome, Seen, Stage
from models.trace import Kind

# Each structure's fields in order, and the struct.Struct that mirrors it.
MIRRORS = {
    "op": ("kind name first second", trace._RECORD),
    "observation": ("address usable granted error flags", observation.OBSERVATION),
    "damage": ("offset op name kind expected seen", observation.DAMAGE),
    "run": (
        "version op_capacity op_count switches store_size cpu_limit_ms done stage outcome signal "
        "fault exit_status damage_count suspicious memory_known store_base maps_base "
        "arena_base arena_size runs race_seed race_rounds race_done invariant assertion",
        observation.HEADER,
    ),
    "config": (
        "alignment max_size arena default_store malloc_zero realloc_zero free_null realloc_null "
        "refuses_over_ptrdiff enomem free_preserves_errno usable_writable coalesces foreign "
        "invalid_alignment detects_double_free detects_interior_free memory_known "
        "gives_back forks threads detects_realloc_freed",
        region.CONFIG,
    ),
    "heap_block": ("address size used", region.BLOCK),
}
ENUMS = {"OP": Kind, "SEEN": Seen, "OUTCOME": Outcome, "DAMAGE": DamageKind, "STAGE": Stage}
NUMBERS = {
    "LAYOUT_VERSION": observation.VERSION,
    "DAMAGE_CAPACITY": observation.DAMAGE_CAPACITY,
    "REGION_HEADER": region.REGION_HEADER,
    "NIL": trace.NIL,
    "NO_NAME": trace.NO_NAME,
    "RUN_CHECK_END": region.CHECKS["end"],
    "RUN_CHECK_EACH": region.CHECKS["each"],
    "THREADS": trace.THREADS,
    "STATE_COUNT": job.STATE_COUNTERS,
    "offsetof(run_t,op_count)": region._OP_COUNT_AT,
    "offsetof(run_t,store_size)": region._STORE_AT,
    "offsetof(run_t,done)": region._DONE_AT,
    "offsetof(run_t,runs)": region._RUNS_AT,
    "offsetof(run_t,race_seed)": region._RACE_AT,
    "RUN_RACE": region.CHECKS["race"],
    "offsetof(subject_t,counters_start)": binding._COUNTERS_AT[0],
    "offsetof(subject_t,counters_end)": binding._COUNTERS_AT[1],
    **{f"MALLOC_ZERO_{name.upper()}": value for name, value in region._MALLOC_ZERO.items()},
    **{f"REALLOC_ZERO_{name.upper()}": value for name, value in region._REALLOC_ZERO.items()},
}
HEADER = (build.HARNESS / "layout.h").read_text()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the C compiler says: name -> number."""
    source = tmp_path_factory.mktemp("layout") / "layout.c"
    source.write_text(program())
    unit = build.Unit(source, (*build.HARNESS_FLAGS, f"-I{build.HARNESS}"), source.parent)
    built = build.link("layout", [build.compile_object(unit)], [], suffix="")
    output = subprocess.run([built], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in map(str.split, output.splitlines())}


def program() -> str:
    """The C program: one line for each offset, size and constant."""
    lines = []
    for name, (fields, _) in MIRRORS.items():
        lines.append(say(f"sizeof.{name}", f"sizeof(struct {name})"))
        for field in fields.split():
            lines.append(say(f"{name}.{field}", f"offsetof(struct {name}, {field})"))
            size = f"sizeof(((struct {name} *)0)->{field})"
            lines.append(say(f"{name}.{field}.size", size))
    constants = [f"{prefix}_{one.name}" for prefix, kinds in ENUMS.items() for one in kinds]
    lines += [say(name, name) for name in [*constants, *NUMBERS]]
    includes = ["#include <stdio.h>", '#include "layout.h"', '#include "subject.h"']
    includes += ['#include "states.h"', "typedef struct run run_t;"]
    includes += ["typedef struct subject subject_t;"]
    return "\n".join([*includes, "int main(void)", "{", *lines, "}\n"])


def say(name: str, expression: str) -> str:
    return f'    printf("{name} %llu\\n", (unsigned long long)({expression}));'


def fields_of(mirror: struct.Struct) -> list[tuple[int, int]]:
    """(offset, size) of each field of a packed little-endian format; padding is none."""
    at, fields = 0, []
    for count, code in re.findall(r"(\d*)([a-zA-Z])", mirror.format):
        size = struct.calcsize("<" + code)
        if code in "xs":
            size, count = int(count or 1), ""
        for _ in range(int(count or 1)):
            fields += [] if code == "x" else [(at, size)]
            at += size
    return fields


@pytest.mark.parametrize("name", MIRRORS)
def test_offsets(told: dict[str, int], name: str) -> None:
    fields, mirror = MIRRORS[name]
    assert mirror.format.startswith("<"), "the mirror must leave no padding to Python"
    seen = [(told[f"{name}.{field}"], told[f"{name}.{field}.size"]) for field in fields.split()]
    assert seen == fields_of(mirror)
    assert told[f"sizeof.{name}"] == mirror.size


@pytest.mark.parametrize("name", [name for name in MIRRORS if name != "heap_block"])
def test_no_field_is_left_out(name: str) -> None:
    body = re.search(rf"struct {name} {{(.*?)\n}};", HEADER, re.DOTALL)[1]
    code = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    declared = re.findall(r"(\w+)(?:\[\w+\])?;", code)
    assert [field for field in declared if field != "reserved"] == MIRRORS[name][0].split()


@pytest.mark.parametrize("prefix", ENUMS)
def test_enumerators(told: dict[str, int], prefix: str) -> None:
    for member in ENUMS[prefix]:
        assert told[f"{prefix}_{member.name}"] == member
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    declared = set(re.findall(rf"\b{prefix}_([A-Z_]+)\b", code)) - {"CAPACITY"}
    assert declared == {member.name for member in ENUMS[prefix]}


@pytest.mark.parametrize("name", NUMBERS)
def test_constants(told: dict[str, int], name: str) -> None:
    assert told[name] == NUMBERS[name]


def test_the_header_of_a_region_holds_run_and_config(told: dict[str, int]) -> None:
    assert told["sizeof.run"] + told["sizeof.config"] <= region.REGION_HEADER


def test_the_fields_that_are_written_alone(told: dict[str, int]) -> None:
    assert told["run.op_count"] == region._OP_COUNT_AT
    assert told["run.switches"] == region._OP_COUNT_AT + 4
    assert told["run.store_size"] == region._STORE_AT
    assert told["run.cpu_limit_ms"] == region._STORE_AT + 8
    assert told["run.done"] == region._DONE_AT


def test_the_exact_model_and_the_region_agree_on_the_store() -> None:
    assert exact_store.DEFAULT_STORE == region.DEFAULT_STORE
