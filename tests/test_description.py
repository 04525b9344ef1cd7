"""A TOML description means what it says, and says what is wrong with it in one line.

That the described allocator then behaves is not tested here, but for the meaning of its calls.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from allocator import adapter, catalogue, description
from allocator.executor import open_executor
from allocator.subject import SubjectError
from models.observation import Outcome
from models.trace import from_text
from tests.samples import SUBJECTS, error_of, run

MINIMAL = 'sources = ["pool.c"]\n[calls]\nmalloc = "pool_malloc(heap, size)"\n'


def parse(text: str) -> description.Description:
    return description.parse(text, SUBJECTS, "stem", "some.toml")


def refusal(text: str) -> str:
    with pytest.raises(SubjectError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults():
    found = parse(MINIMAL)
    assert found.name == "stem"
    assert found.sources == (SUBJECTS / "pool.c",)
    assert found.has == {"malloc"}
    assert found.contract == type(found.contract)()
    assert found.walker is None
    assert found.library is None


def test_everything_is_read():
    found = description.read(SUBJECTS / "pool.toml")
    assert found.name == "pool"
    assert found.flags == ("-DPOOL_ALIGN=16",)
    assert found.headers == ("pool.h",)
    assert found.include == (SUBJECTS,)
    assert found.folder == SUBJECTS
    assert found.has == {"malloc", "free", "check"}
    assert found.contract.arena == 16384
    assert found.contract.coalesces
    assert found.contract.reclaims


def test_arena_has_a_default_where_init_uses_it():
    assert parse(MINIMAL).contract.arena == 0
    assert parse(MINIMAL + 'init = "start()"').contract.arena == 0
    assert parse(MINIMAL + 'init = "start(arena, arena_size)"').contract.arena == 65536
    assert parse(MINIMAL + 'init = "start(arena)"\n[contract]\narena = 128').contract.arena == 128


def test_alignment_of_the_library_s_own_name_is_the_standard_s():
    named_malloc = 'sources = ["pool.c"]\n[calls]\nmalloc = "malloc(size)"\n'
    assert parse(named_malloc).contract.alignment == 0
    assert parse(named_malloc + "[contract]\nalignment = 32").contract.alignment == 32
    assert parse(MINIMAL).contract.alignment == 8


def test_walker_is_a_file_beside():
    assert "pool_walk.py" in refusal(MINIMAL + '[contract]\nwalk = "pool_walk.py"')
    assert parse(MINIMAL + '[contract]\nwalk = "pool.h"').walker == SUBJECTS / "pool.h"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = ", "not TOML: "),
        ("a = 1\n[calls\n", "line 2, column 7"),
        (f"colour = 1\n{MINIMAL}", "unknown key 'colour' (known: name, sources, library"),
        (f'{MINIMAL}shrink = "x()"', "[calls] unknown key 'shrink' (known: init, malloc"),
        (f"{MINIMAL}[contract]\nalign = 8", "[contract] unknown key 'align' (known: alignment"),
        (f"{MINIMAL}[contract]\nalignment = 24", "[contract] alignment is a power of two"),
        (f'{MINIMAL}[contract]\nalignment = "8"', "[contract] alignment takes int"),
        (f"{MINIMAL}[contract]\ndetects = {{ leak = 'abort' }}", "leak"),
        (f"{MINIMAL}[contract]\nwalk = 1", "walk takes a file name"),
        ('sources = ["pool.c"]', "[calls] malloc is missing"),
        ('sources = ["pool.c"]\n[calls]\nfree = "f(ptr)"', "[calls] malloc is missing"),
        (f"{MINIMAL}free = 1", "[calls] free takes C text"),
        (f'{MINIMAL}free = " "', "[calls] free takes C text"),
        (f'{MINIMAL}init_ok = "yes"', "init_ok is one of zero, nonzero, any"),
        ('[calls]\nmalloc = "m(size)"', "sources or library says where the code is: neither"),
        (f'library = "pool.h"\n{MINIMAL}', "both of them"),
        ('sources = "pool.c"', "sources takes a list of strings, not 'pool.c'"),
        ("sources = [1]", "sources takes a list of strings"),
        ('name = ""', "name takes a string"),
        ('calls = "x"', "calls takes a table"),
        (MINIMAL.replace("pool.c", "pol.c"), "sources: no such file: pol.c (looked for /"),
        (f'include = ["inc"]\n{MINIMAL}', "include: no such folder: inc"),
        (f'target = "x86"\n{MINIMAL}', "target x86 (32-bit) is not executed yet"),
        (f'target = "arm"\n{MINIMAL}', "unknown target 'arm' (known: x86_64)"),
    ],
)
def test_refusals(text, expected):
    assert expected in refusal(text)


def test_refusal_names_the_file(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("colour = 1")
    assert str(error_of(str(path))).startswith(f"{path}: unknown key 'colour'")
    path.write_bytes(b"name = '\xff'")
    assert "not UTF-8" in str(error_of(str(path)))
    assert "prefix is for .c and .so" in str(error_of(str(SUBJECTS / "pool.toml"), prefix="p_"))


def test_moved_paths_follow_the_folder_alone():
    found = description.read(Path(catalogue.HERE) / "explicit_list" / "subject.toml")
    moved = found.moved(found.folder, Path("/elsewhere"))
    assert moved.sources[0] == Path("/elsewhere/explicit_list.c")
    assert moved.sources[1] == found.sources[1]
    assert moved.include == (Path("/elsewhere"), found.include[1])


# ---- what the calls mean ----


def described(tmp_path: Path, calls: str, code: str, contract: str = "") -> str:
    (tmp_path / "own.c").write_text("#include <stddef.h>\n" + code)
    path = tmp_path / "own.toml"
    path.write_text(f'sources = ["own.c"]\n[calls]\n{calls}\n[contract]\n{contract}\n')
    return str(path)


_MALLOC = 'malloc = "size > 64 ? NULL : (void *)room"\ndeclare = "extern char room[64];\n'
_ROOM = "_Alignas(16) char room[64];\n"


@pytest.mark.parametrize(
    ("type_", "result", "init_ok", "is_ready"),
    [
        ("int", "0", None, True),
        ("int", "-1", None, False),
        ("int", "1", None, False),
        ("int", "1", "nonzero", True),
        ("int", "0", "nonzero", False),
        ("int", "7", "any", True),
        ("_Bool", "1", None, True),
        ("_Bool", "0", None, False),
        ("void *", "NULL", None, False),
        ("void *", "room", None, True),
        ("size_t", "0", "zero", True),
        ("void", "", None, True),
    ],
)
def test_success_of_init(tmp_path, type_, result, init_ok, is_ready):
    calls = 'init = "start()"\nmalloc = "take(size)"\n'
    calls += f'declare = "void *take(size_t); {type_} start(void);"\n'
    calls += f'init_ok = "{init_ok}"\n' if init_ok else ""
    code = _ROOM + f"{type_} start(void) {{ return {result}; }}\n"
    code += "void *take(size_t n) { return n > 64 ? NULL : room; }\n"
    seen = run(catalogue.resolve(described(tmp_path, calls, code)), "p0 = malloc 10\n")
    assert seen.outcome == (Outcome.FINISHED if is_ready else Outcome.INIT)


def test_init_may_be_statements_and_heap_any_type(tmp_path):
    calls = """
heap_type = "struct { char *next; size_t left; }"
init = "heap.next = arena; heap.left = arena_size"
init_ok = "any"
declare = '''
static void *bump(size_t size)
{
    if (size > heap.left)
        return NULL;
    heap.left -= size;
    return (heap.next += size) - size;
}
'''
malloc = "bump((size + 15) & ~(size_t)15)"
"""
    spec = described(tmp_path, calls, "", "arena = 256")
    seen = run(catalogue.resolve(spec), "p0 = malloc 100\np1 = malloc 100\np2 = malloc 100\n")
    first, second, third = (each.address for each in seen.observations)
    assert (first, second, third) == (seen.arena_base, seen.arena_base + 112, 0)


def test_every_call_reaches_its_function(tmp_path):
    """Each answers with a block of its own, so that a mixed-up operand or function shows."""
    calls = """
malloc = "size == 1 ? room + 16 : NULL"
calloc = "count == 2 && size == 3 ? room + 32 : NULL"
realloc = "ptr == room + 16 && size == 4 ? room + 48 : NULL"
aligned_alloc = "alignment == 16 && size == 5 ? room + 64 : NULL"
memalign = "alignment == 16 && size == 6 ? room + 80 : NULL"
posix_memalign = "alignment == 16 && size == 7 ? (*result = room + 96, 0) : 12"
usable_size = "ptr == room + 16 ? 9 : 8"
free = "last = ptr"
check = 'last == room + 32 ? NULL : "free"'
declare = "extern char room[128]; static void *last;"
"""
    subject = catalogue.resolve(described(tmp_path, calls, "_Alignas(16) char room[128];\n"))
    assert subject.has == frozenset(description.FUNCTIONS) - {"walk"}
    text = (
        "p0 = malloc 1\np1 = calloc 2 3\np2 = realloc p0 4\np3 = aligned_alloc 16 5\n"
        "p4 = memalign 16 6\np5 = posix_memalign 16 7\nfree p1\n"
    )
    with open_executor(subject) as executor:
        seen = executor.run(from_text(text), check="end")
    base = seen.observations[0].address - 16
    offsets = [each.address - base for each in seen.observations[:6]]
    assert offsets == [16, 32, 48, 64, 80, 96]
    assert seen.observations[0].usable == 9
    assert seen.observations[1].usable == 8
    assert seen.invariant == ""


def test_errors_in_the_calls_are_told_by_their_key(tmp_path):
    code = "void *take(size_t n) { return NULL; }"
    calls = 'malloc = "take(size, 1)"\ndeclare = "void *take(size_t);"'
    spec = described(tmp_path, calls, code)
    assert "own.toml [calls] malloc:1:" in str(error_of(spec))
    spec = described(tmp_path, 'malloc = "take(size)"', code)
    assert "'take'" in str(error_of(spec))


def test_missing_header_is_named(tmp_path):
    spec = described(tmp_path, 'malloc = "take(size)"', "")
    text = Path(spec).read_text()
    Path(spec).write_text('headers = ["own.h"]\n' + text)
    assert "own.h" in str(error_of(spec))


def test_adapter_text_cannot_leave_its_comment():
    found = parse('name = "x */ int y; /*"\n' + MINIMAL)
    assert "*/ int y" not in adapter.write(found)


def test_names_with_odd_letters_build(tmp_path):
    spec = described(tmp_path, 'malloc = "NULL"', "")
    text = Path(spec).read_text()
    Path(spec).write_text('name = "a b/c\\"é"\n' + text)
    assert catalogue.resolve(spec).library.is_file()


# ---- one file extends another ----


BASE = """
sources = ["own.c"]
flags = ["-DA"]
[calls]
malloc = "get(size)"
free = "put(ptr)"
[contract]
alignment = 16
reclaims = true
"""


def extended(folder: Path, text: str) -> description.Description:
    (folder / "sub").mkdir()
    (folder / "own.c").write_text("")
    (folder / "base.toml").write_text(BASE)
    path = folder / "sub" / "b.toml"
    path.write_text(text)
    return description.read(path)


def test_keys_of_the_extended_file_hold_unless_given(tmp_path):
    found = extended(
        tmp_path,
        'extends = "../base.toml"\nflags = ["-DB"]\n[calls]\nfree = "drop(ptr)"\n'
        "[contract]\nreclaims = false\n",
    )
    assert found.name == "b"
    assert found.sources == (tmp_path.resolve() / "own.c",)
    assert found.flags == ("-DB",)
    assert dict(found.calls) == {"malloc": "get(size)", "free": "drop(ptr)"}
    assert (found.contract.alignment, found.contract.reclaims) == (16, False)


def test_extending_nothing_or_itself_is_told(tmp_path):
    with pytest.raises(SubjectError, match=r"extends: no such file: nothing.toml"):
        extended(tmp_path, 'extends = "nothing.toml"\n')
    (tmp_path / "sub" / "b.toml").write_text('extends = "b.toml"\n')
    with pytest.raises(SubjectError, match="in a circle"):
        description.read(tmp_path / "sub" / "b.toml")
