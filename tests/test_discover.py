"""Functions are found by name only where they are sure, and nothing else is ever called.

The libraries and sources here are small; that they run is shown once each.
"""

from __future__ import annotations

import random
import shutil
import struct

import pytest

from allocator import catalogue, discover, elf
from allocator.elf import Prototype
from allocator.subject import SubjectError
from models.observation import Outcome
from tests.samples import EXAMPLES, SUBJECTS, error_of, library, library_of_text, run

MALLOC = Prototype("pointer", ("size",), ("n",))
FREE = Prototype("void", ("pointer",), ("p",))
CALLOC = Prototype("pointer", ("size", "size"), ("n", "m"))
REALLOC = Prototype("pointer", ("pointer", "size"), ("p", "n"))
HANDLE = Prototype("pointer", ("struct pool *", "size"), ("pool", "n"))
START = Prototype("int", (), ())


def find(known: dict[str, Prototype | None], prefix=None, whole_program=True):
    """`known`: every function, None for one of unknown type."""
    told = {name: prototype for name, prototype in known.items() if prototype}
    return discover.find(frozenset(known), told, prefix, whole_program=whole_program)


def refusal(known, prefix=None, whole_program=True) -> str:
    with pytest.raises(SubjectError) as caught:
        find(known, prefix, whole_program)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- which functions ----


def test_one_prefix_is_one_allocator():
    found = find({"my_malloc": MALLOC, "my_free": FREE, "my_calloc": CALLOC, "helper": MALLOC})
    assert found.roles == {"my_malloc": "malloc", "my_free": "free", "my_calloc": "calloc"}
    assert found.init is None
    assert found.notes == ()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("my_malloc", ("my_", "malloc")),
        ("mymalloc", ("my", "malloc")),
        ("poolAlloc", ("pool", "malloc")),
        ("heap_calloc", ("heap_", "calloc")),
        ("heap_realloc", ("heap_", "realloc")),
        ("heap_dealloc", ("heap_", "free")),
        ("x_aligned_alloc", ("x_", "aligned_alloc")),
        ("x_posix_memalign", ("x_", "posix_memalign")),
        ("x_malloc_usable_size", ("x_", "usable_size")),
        ("free", ("", "free")),
        ("coalesce", None),
    ],
)
def test_names_are_a_prefix_and_a_role(name, split):
    assert discover._split(name) == split


def test_two_prefixes_need_a_choice():
    known = {"a_malloc": MALLOC, "a_free": FREE, "b_alloc": MALLOC, "b_free": FREE}
    assert "a_ (a_malloc), b_ (b_alloc): choose with --prefix" in refusal(known)
    assert find(known, "b_").roles == {"b_alloc": "malloc", "b_free": "free"}


def test_the_library_s_own_names_come_first():
    known = {"malloc": MALLOC, "free": FREE, "internal_malloc": MALLOC}
    assert find(known).roles == {"malloc": "malloc", "free": "free"}


def test_allocator_with_a_handle_is_not_called():
    assert "pool_malloc is void * (struct pool *, size_t), not void * (size_t)" in refusal(
        {"pool_malloc": HANDLE, "pool_free": FREE}
    )
    assert "pool_malloc is void * (struct pool *" in refusal({"pool_malloc": HANDLE}, "pool_")
    # Not even under the C library's name, or a well-known one.
    assert "malloc is void * (struct pool *" in refusal({"malloc": HANDLE})
    assert "mm_malloc is void * (struct pool *" in refusal({"mm_malloc": HANDLE})


@pytest.mark.parametrize(
    "wrong",
    [
        Prototype("pointer", ("int",), ("n",)),
        Prototype("pointer", ("unsigned int",), ("n",)),
        Prototype("pointer", (), ()),
        Prototype("pointer", ("size", "..."), ("n", "")),
        Prototype("struct block *", ("size",), ("n",)),
        Prototype("void", ("size",), ("n",)),
    ],
)
def test_other_types_are_not_called(wrong):
    assert "describe how to call it" in refusal({"my_malloc": wrong, "my_free": FREE})


def test_without_debug_information_only_famous_names_are_called():
    unknown = {"my_malloc": None, "my_free": None, "tlsf_malloc": None}
    assert "no debug information confirms" in refusal(unknown, whole_program=False)
    assert find(unknown, "my_", False).roles == {"my_free": "free", "my_malloc": "malloc"}
    famous = {"mm_malloc": None, "mm_free": None, "mm_init": None, "mm_checkheap": None}
    found = find(famous, whole_program=False)
    assert found.roles == {"mm_malloc": "malloc", "mm_free": "free"}
    assert found.init == "mm_init"
    ported = {"pvPortMalloc": None, "vPortFree": None, "vPortInitialiseBlocks": None}
    found = find(ported, whole_program=False)
    assert found.roles == {"pvPortMalloc": "malloc", "vPortFree": "free"}
    assert found.init is None


def test_nothing_to_call():
    assert "no function named like malloc" in refusal({"trace_of": START})
    assert "no my_malloc or my_alloc" in refusal({"your_malloc": MALLOC}, "my_")
    assert "there is your_" in refusal({"your_malloc": MALLOC}, "my_")


def test_what_is_unsure_beside_a_sure_malloc_is_left_out_and_said():
    known = {
        "my_malloc": MALLOC,
        "my_free": FREE,
        "my_realloc": Prototype("pointer", ("pointer", "int"), ("p", "n")),
        "my_memalign": Prototype("pointer", ("size", "size"), ("a", "b")),
        "my_alloc": MALLOC,
    }
    found = find(known)
    assert set(found.roles) == {"my_malloc", "my_free"}
    assert len(found.notes) == 3
    assert "my_alloc is left out: another function has its role" in found.notes
    assert "my_memalign is left out: my_memalign does not say" in found.notes[1]
    assert "my_realloc is void * (void *, int)" in found.notes[2]


@pytest.mark.parametrize(
    ("names", "call"),
    [(("alignment", "size"), "(alignment, size)"), (("size", "align"), "(size, alignment)")],
)
def test_alignment_goes_where_its_name_is(tmp_path, names, call):
    (tmp_path / "own.c").write_text(
        "#include <stddef.h>\nvoid *o_malloc(size_t n) { return NULL; }\n"
        f"void *o_memalign(size_t {names[0]}, size_t {names[1]}) {{ return NULL; }}\n"
    )
    found, notes = discover.in_source(tmp_path / "own.c", None)
    assert found.calls["memalign"] == f"o_memalign{call}"
    assert notes == ()


# ---- init ----


def test_init_is_called_where_it_is_sure():
    base = {"my_malloc": MALLOC, "my_free": FREE}
    assert find(base | {"my_init": START}).init == "my_init"
    assert find(base | {"init_heap": Prototype("void", (), ())}).init == "init_heap"
    arena = Prototype("void", ("pointer", "size"), ("p", "n"))
    assert find(base | {"my_init": arena, "my_init_twice": START}).init == "my_init"
    assert find(base | {"initials": START, "splinter": START}).init is None


def test_unsure_init_stops_everything():
    base = {"my_malloc": MALLOC, "my_free": FREE}
    odd = Prototype("void", ("size",), ("n",))
    assert "my_init may have to be called first, and is void (size_t)" in refusal(
        base | {"my_init": odd}
    )
    assert "several functions may have to be called first" in refusal(
        base | {"heap_init": START, "list_init": START}
    )
    unknown = {"my_malloc": None, "my_init": None}
    assert "my_init may have to be called first" in refusal(unknown, "my_", False)


def test_arena_for_an_init_that_takes_one(tmp_path):
    (tmp_path / "own.c").write_text(
        "#include <stddef.h>\nstatic char *next, *end;\n"
        "int own_init(void *p, size_t n) { next = p; end = next + n; return 0; }\n"
        "void *own_malloc(size_t n) { n = (n + 15) & ~15ul;\n"
        "  return n > (size_t)(end - next) ? NULL : (next += n) - n; }\n"
    )
    subject = catalogue.resolve(str(tmp_path / "own.c"))
    assert subject.contract.arena == 65536
    seen = run(subject, "p0 = malloc 10\n")
    assert seen.observations[0].address == seen.arena_base


# ---- whole files ----


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("homework.c", {"malloc", "free", "calloc", "realloc"}),
        (EXAMPLES / "malloclab" / "mm.c", {"malloc", "free", "realloc"}),
    ],
)
def test_sources_of_strangers_run(name, has):
    subject = catalogue.resolve(str(SUBJECTS / name))
    assert subject.has == has
    assert not subject.bundled
    seen = run(subject)
    assert seen.outcome == Outcome.FINISHED
    assert all(seen.observations[op].address for op in (0, 1, 3, 4))


def test_malloc_lab_file_grows_by_the_store():
    seen = run(catalogue.resolve(str(EXAMPLES / "malloclab" / "mm.c")))
    assert seen.store_base < seen.observations[0].address < seen.store_base + 4096
    assert seen.observations[0].granted == 4096 + 16


def test_malloc_lab_header_says_how_wide_an_increment_is(tmp_path):
    """The older header's int leaves the upper half of the register to chance."""
    header = "#include <stddef.h>\nvoid *mem_sbrk(int increment);\n"
    (tmp_path / "memlib.h").write_text(header)
    (tmp_path / "mm.c").write_text(
        '#include "memlib.h"\nvoid *mm_malloc(size_t n) {\n'
        "  if (n > 4096) return NULL;\n  size_t wide = (n + 15) & ~15ul | 1ul << 40;\n"
        '  __asm__("" : "+D"(wide)); /* in the register of the first argument */\n'
        "  void *p = mem_sbrk((int)wide); return p == (void *)-1 ? NULL : p; }\n"
    )
    seen = run(catalogue.resolve(str(tmp_path / "mm.c")), "p0 = malloc 100\n")
    assert seen.observations[0].granted == 112


def test_library_of_a_stranger_runs(tmp_path):
    subject = catalogue.resolve(str(library(tmp_path / "libhw.so", "homework.c")))
    assert subject.has == {"malloc", "free", "calloc", "realloc"}
    assert subject.prebuilt == tmp_path / "libhw.so"
    assert run(subject).outcome == Outcome.FINISHED
    stripped = str(library(tmp_path / "stripped.so", "homework.c", debug=False))
    assert "no debug information" in str(error_of(stripped))
    assert run(catalogue.resolve(stripped, prefix="hw_")).outcome == Outcome.FINISHED


def test_the_c_library_is_a_subject():
    subject = catalogue.resolve("libc.so.6")
    assert {"malloc", "calloc", "realloc", "free", "aligned_alloc", "usable_size"} <= subject.has
    assert subject.contract.alignment == 0
    seen = run(subject)
    assert seen.outcome == Outcome.FINISHED
    assert not seen.memory_known


@pytest.mark.parametrize("is_library", [False, True], ids=["source", "library"])
def test_draft_of_a_description_works(tmp_path, is_library):
    """What the error offers can be saved beside the file, and runs."""
    shutil.copy(SUBJECTS / "pool.h", tmp_path)
    path = tmp_path / ("pool.so" if is_library else "pool.c")
    if is_library:
        library(path, "pool.c")
    else:
        shutil.copy(SUBJECTS / "pool.c", path)
    error = error_of(str(path))
    assert "pool_malloc is void * (struct pool *, size_t)" in str(error)
    (tmp_path / "draft.toml").write_text(error.skeleton)
    seen = run(catalogue.resolve(str(tmp_path / "draft.toml")))
    assert seen.outcome == Outcome.FINISHED
    assert seen.arena_base < seen.observations[0].address < seen.arena_base + seen.arena_size


def test_draft_without_a_guess_is_a_description_to_fill_in(tmp_path):
    error = error_of(str(SUBJECTS / "hostile" / "no_allocator.c"))
    assert "no function named like malloc" in str(error)
    shutil.copy(SUBJECTS / "hostile" / "no_allocator.c", tmp_path)
    (tmp_path / "draft.toml").write_text(error.skeleton)
    assert "my_malloc" in str(error_of(str(tmp_path / "draft.toml")))


def test_toml_reaches_a_library_and_names_what_it_lacks(tmp_path):
    library(tmp_path / "pool.so", "pool.c", debug=False)
    shutil.copy(SUBJECTS / "pool.h", tmp_path)
    text = (
        'library = "pool.so"\nheaders = ["pool.h"]\n[calls]\nmalloc = "pool_malloc(heap, size)"\n'
        'init = "heap = pool_create(arena, arena_size)"\n'
    )
    (tmp_path / "pool.toml").write_text(text)
    subject = catalogue.resolve(str(tmp_path / "pool.toml"))
    assert subject.prebuilt == tmp_path / "pool.so"
    assert run(subject, "p0 = malloc 100\n").observations[0].address
    (tmp_path / "pool.toml").write_text(
        text + 'free = "pool_release(ptr)"\ndeclare = "void pool_release(void *);"\n'
    )
    assert "pool_release" in str(error_of(str(tmp_path / "pool.toml")))


def test_variables_of_a_library_are_out_of_reach(tmp_path):
    library_of_text(
        tmp_path / "a.so", "#include <stddef.h>\nchar a_room[64];\n"
        "void *a_malloc(size_t n) { return n > 64 ? NULL : a_room; }\n",
    )  # fmt: skip
    (tmp_path / "a.toml").write_text(
        'library = "a.so"\n[calls]\nmalloc = "(a_room[0] = 1, a_malloc(size))"\n'
        'declare = "extern char a_room[64]; void *a_malloc(size_t);"\n'
    )
    assert "variable a_room" in str(error_of(str(tmp_path / "a.toml")))


# ---- files that are no libraries ----


def test_files_that_cannot_be_loaded(tmp_path):
    good = library(tmp_path / "good.so", "homework.c").read_bytes()
    cases = {
        "empty": (b"", "an empty file"),
        "text": (b"hello\n", "not an ELF shared object"),
        "script": (b"/* GNU ld script\n*/", "a linker script"),
        "cut-header": (good[:40], "truncated"),
        "cut": (good[: len(good) // 2], "truncated"),
        "arm": (good[:18] + struct.pack("<H", 183) + good[20:], "built for AARCH64"),
        "narrow": (good[:4] + b"\x01" + good[5:], "32-bit: only x86-64"),
        "object": (good[:16] + struct.pack("<H", 1) + good[18:], "an object file"),
    }
    for name, (content, expected) in cases.items():
        path = tmp_path / f"{name}.so"
        path.write_bytes(content)
        assert expected in str(error_of(str(path))), name


def test_programs_are_not_libraries(tmp_path):
    shutil.copy(shutil.which("env"), tmp_path / "env.so")
    assert "a program, not a shared object" in str(error_of(str(tmp_path / "env.so")))


def test_noise_is_refused_or_read_never_a_traceback(tmp_path):
    good = library(tmp_path / "good.so", "homework.c").read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(150):
        noisy = bytearray(good)
        # Mostly where the tables are: at the start, and at the end where the section headers lie.
        for _ in range(chance.choice((1, 4, 40))):
            span = chance.choice((64, 64, 1024, len(noisy)))
            at = chance.randrange(span) * chance.choice((1, -1))
            noisy[at % len(noisy)] = chance.randrange(256)
        path = tmp_path / "noisy.so"
        path.write_bytes(noisy)
        try:
            elf.library(path)
        except SubjectError:
            refused += 1
    assert 30 < refused < 150
