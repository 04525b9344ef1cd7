"""What is built is what was asked for, once, whole, and bound to the host.

The compiler itself is not under test, nor is what the built code does on a trace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from allocator import artifacts, build, catalogue
from allocator.executor import open_executor
from allocator.subject import SubjectError
from models.observation import Outcome, Seen
from models.trace import from_text
from tests.samples import EXPLICIT_LIST, SUBJECTS, error_of, library_of_text, run

ROOT = Path(build.__file__).resolve().parent.parent


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty store of built files."""
    monkeypatch.setenv("ALLOCHECK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch) -> list[list[str]]:
    """The compiler's command lines from here on."""
    seen: list[list[str]] = []
    real = build._run
    monkeypatch.setattr(build, "_run", lambda line, folder: (seen.append(line), real(line, folder)))
    return seen


def symbols(path: Path, defined: bool) -> set[str]:
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".dynsym")
        return {
            symbol.name
            for symbol in table.iter_symbols()
            if symbol.name and (symbol["st_shndx"] != "SHN_UNDEF") == defined
        }


def unit(path: Path, *flags: str) -> build.Unit:
    return build.Unit(path, ("-fPIC", *flags), path.parent)


# ---- the store ----


def test_second_build_compiles_nothing(cache, compilations):
    first = catalogue.resolve("explicit_list").library
    assert len(compilations) >= 4
    compilations.clear()
    assert catalogue.resolve("explicit_list").library == first
    assert compilations == []


def test_changed_header_is_seen_and_old_content_found_again(cache, tmp_path, compilations):
    source, header = tmp_path / "a.c", tmp_path / "a.h"
    source.write_text('#include "a.h"\nint answer(void) { return ANSWER; }\n')
    header.write_text("#define ANSWER 1\n")
    one = build.compile_object(unit(source))
    header.write_text("#define ANSWER 2\n")
    two = build.compile_object(unit(source))
    header.write_text("#define ANSWER 1\n")
    assert build.compile_object(unit(source)) == one != two
    assert len(compilations) == 3


def test_header_that_takes_the_place_of_another_is_seen(cache, tmp_path):
    for folder, answer in (("first", 1), ("second", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.h").write_text(f"#define ANSWER {answer}\n")
    source = tmp_path / "a.c"
    source.write_text("#include <a.h>\nint answer(void) { return ANSWER; }\n")
    (tmp_path / "first" / "a.h").rename(tmp_path / "kept")
    asked = unit(source, f"-I{tmp_path}/first", f"-I{tmp_path}/second")
    second = build.compile_object(asked)
    (tmp_path / "kept").rename(tmp_path / "first" / "a.h")
    assert build.compile_object(asked) != second


def test_flags_are_part_of_the_key(cache, tmp_path):
    source = tmp_path / "a.c"
    source.write_text("int answer(void) { return ANSWER; }\n")
    built = {build.compile_object(unit(source, f"-DANSWER={n}")) for n in (1, 2, 2)}
    assert len(built) == 2


@pytest.mark.parametrize("damage", ["truncated", "other bytes", "gone", "manifest", "empty"])
def test_broken_entry_is_built_again(cache, tmp_path, damage):
    source = tmp_path / "a.c"
    source.write_text("int answer(void) { return 42; }\n")
    path = build.compile_object(unit(source))
    whole = path.read_bytes()
    manifest = next(cache.glob("a-*.json"))
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "other bytes":
        path.write_bytes(bytes(len(whole)))
    elif damage == "gone":
        path.unlink()
    else:
        manifest.write_text("{" if damage == "manifest" else json.dumps({"file": "a.o"}))
    assert build.compile_object(unit(source)).read_bytes() == whole
    assert artifacts.digest(path) == json.loads(manifest.read_text())["sha256"]


def test_failed_build_leaves_nothing_behind(cache, tmp_path):
    source = tmp_path / "a.c"
    source.write_text("int answer(void) { return }\n")
    with pytest.raises(SubjectError):
        build.compile_object(unit(source))
    assert list(cache.iterdir()) == []


def test_parallel_builds_agree(cache):
    code = "from allocator import catalogue; print(catalogue.resolve('explicit_list').library)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    printed = {process.communicate(timeout=120)[0].decode().strip() for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(printed) == 1
    assert printed == {str(catalogue.resolve("explicit_list").library)}
    assert not list(cache.glob("build-*"))


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("a.o: a.c b.h\n", ["a.c", "b.h"]),
        ("a.o: \\\n  a.c \\\n  b.h\n", ["a.c", "b.h"]),
        ("/t/a.o: /my\\ files/a.c b\\#1.h c$$.h\n", ["/my files/a.c", "b#1.h", "c$.h"]),
    ],
)
def test_make_rules_are_read(rule, names):
    assert build.dependencies(rule) == names


# ---- complaints ----


def test_compiler_error_is_one_line_with_its_place():
    error = error_of(str(SUBJECTS / "hostile" / "does_not_compile.c"))
    assert "does_not_compile.c:5:" in str(error)
    assert "arena_take" in str(error)


def test_missing_function_is_named_when_linking(tmp_path):
    (tmp_path / "a.c").write_text(
        "#include <stddef.h>\nvoid *elsewhere(size_t);\n"
        "void *a_malloc(size_t n) { return elsewhere(n); }\n"
    )
    assert "elsewhere" in str(error_of(str(tmp_path / "a.c")))


def test_missing_compiler_is_said(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    assert "CC=no-such-compiler -m64: no such program" in str(error_of("explicit_list"))


def test_compiler_that_says_nothing(monkeypatch, cache):
    monkeypatch.setenv("CC", "false")
    assert "status 1" in str(error_of("explicit_list"))


def test_system_compiler(monkeypatch, cache):
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    monkeypatch.setenv("CC", "gcc")
    subject = catalogue.resolve("explicit_list")
    assert run(subject).outcome == Outcome.FINISHED
    assert "coverage needs clang" in str(error_of("explicit_list", coverage=True))


# ---- what is in a subject's library ----


def test_subject_shows_its_table_and_asks_the_system_for_nothing():
    path = catalogue.resolve("explicit_list").library
    assert symbols(path, defined=True) == {"allocheck_subject"}
    bound = {"sbrk", "brk", "mmap", "mmap64", "munmap", "mremap", "madvise", "exit", "_exit"}
    bound |= {"malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign"}
    assert symbols(path, defined=False) & bound == set()


def test_only_the_subject_is_counted():
    plain = catalogue.resolve("explicit_list").library
    counted = catalogue.resolve("explicit_list", coverage=True).library

    def counters(path: Path) -> int:
        with path.open("rb") as stream:
            sections = ELFFile(stream).iter_sections()
            return sum(each.data_size for each in sections if each.name == "__sancov_cntrs")

    assert counters(plain) == 0
    alone = build.compile_object(
        build.Unit(
            EXPLICIT_LIST / "explicit_list.c",
            (*build.SUBJECT_FLAGS, *build.COVERAGE_FLAGS, "-DNDEBUG", f"-I{EXPLICIT_LIST.parent}"),
            EXPLICIT_LIST,
        )
    )
    assert counters(counted) > 50
    # Those of page_source_system.c, the other of its sources.
    assert 0 < counters(counted) - counters(alone) < 20


def test_coverage_build_runs_outside_libfuzzer():
    subject = catalogue.resolve("explicit_list", coverage=True)
    wanted = {name for name in symbols(subject.library, defined=False) if "__sanitizer" in name}
    assert "__sanitizer_cov_8bit_counters_init" in wanted
    assert wanted <= symbols(build.coverage_stub(), defined=True)
    assert wanted <= symbols(build.runner(), defined=True)
    assert run(subject) == run(catalogue.resolve("explicit_list"))


def test_runner_shows_nothing_but_coverage_stubs():
    shown = symbols(build.runner(), defined=True)
    assert "__sanitizer_cov_trace_cmp8" in shown
    assert not {name for name in shown if "executor" in name or "store" in name}


def test_calloc_made_of_malloc_is_not_turned_into_itself(tmp_path):
    (tmp_path / "own.c").write_text(
        "#include <string.h>\n#include <stddef.h>\n"
        "static _Alignas(16) char memory[4096]; static size_t used;\n"
        "__attribute__((noinline)) void *malloc(size_t n) {\n"
        "  if (n > 4000 - used) return 0; void *p = memory + used;\n"
        "  used += (n + 15) & ~15ul; return p; }\n"
        "void free(void *p) { (void)p; }\n"
        "__attribute__((noinline)) void *cleared(size_t n) {\n"
        "  void *p = malloc(n); if (p) memset(p, 0, n); return p; }\n"
        "void *calloc(size_t n, size_t m) { return m && n > 4000 / m ? 0 : cleared(n * m); }\n"
    )
    seen = run(catalogue.resolve(str(tmp_path / "own.c")), "p0 = calloc 4 8\np1 = calloc 1 64\n")
    assert seen.outcome == Outcome.FINISHED
    first, second = (each.address for each in seen.observations)
    assert second - first == 32


def test_pool_without_malloc_of_its_own_meets_the_host(tmp_path):
    """Its memory is the store's: capped, and back to nothing in the next run."""
    (tmp_path / "pool.c").write_text(
        "#include <stdlib.h>\n#include <string.h>\nstatic char *memory; static size_t used;\n"
        'void *p_malloc(size_t n) { if (!memory) { memory = malloc(8192); free(strdup("x")); }\n'
        "  if (!memory || n > 8000 - used) return 0;\n"
        "  void *p = memory + used; used += (n + 15) & ~15ul; return p; }\n"
    )
    subject = catalogue.resolve(str(tmp_path / "pool.c"))
    with open_executor(subject, sandbox=True) as executor:
        runs = [executor.run(from_text("p0 = malloc 100\n")) for _ in range(2)]
        refused = executor.run(from_text("deny all\np0 = malloc 100\n"))
    assert runs[0] == runs[1]
    assert runs[0].observations[0].granted >= 8192
    assert refused.observations[1].address == 0


def test_what_strdup_gives_goes_back_where_it_came_from(tmp_path):
    (tmp_path / "pool.c").write_text(
        "#include <stdlib.h>\n#include <string.h>\n"
        'void *p_malloc(size_t n) { for (int i = 0; i < 9; i++) free(strdup("x"));\n'
        "  return malloc(n); }\n"
        "void p_free(void *p) { free(p); }\n"
    )
    seen = run(catalogue.resolve(str(tmp_path / "pool.c")), "p0 = malloc 5\np1 = malloc 7\n")
    assert seen.outcome == Outcome.FINISHED
    assert [each.granted for each in seen.observations] == [4096, 4096]
    assert not any(each.flags & Seen.OUTSIDE for each in seen.observations)


def test_own_sbrk_is_kept(tmp_path):
    (tmp_path / "own.c").write_text(
        "#include <stddef.h>\n#include <stdint.h>\nstatic char memory[4096]; static size_t used;\n"
        "void *sbrk(intptr_t n) { void *p = memory + used; used += (size_t)n; return p; }\n"
        "void *own_malloc(size_t n) { return n > 512 ? NULL : sbrk(512); }\n"
    )
    seen = run(catalogue.resolve(str(tmp_path / "own.c")), "p0 = malloc 100\n")
    assert seen.observations[0].granted == 0
    assert seen.observations[0].address


def test_thread_local_state_is_restored(tmp_path):
    (tmp_path / "own.c").write_text(
        "#include <stddef.h>\nstatic char memory[4096]; static _Thread_local size_t used;\n"
        "void *own_malloc(size_t n) { void *p = memory + used;\n"
        "  if (n > 4096 - 16 - used) return NULL; used += (n + 15) & ~15ul; return p; }\n"
    )
    subject = catalogue.resolve(str(tmp_path / "own.c"))
    with open_executor(subject, sandbox=True) as executor:
        first, second = (executor.run(from_text("p0 = malloc 100\n")) for _ in range(2))
    assert first == second


# ---- prebuilt libraries ----

_BREAK_USER = """
#include <unistd.h>
{extra}
static char *start;
void *b_malloc(size_t n) {{
    char *p = sbrk((n + 15) & ~15ul);
    if (!start) start = p;
    {inside}
    return p == (char *)-1 ? NULL : p;
}}
void b_free(void *p) {{ (void)p; }}
"""


def test_imports_of_a_prebuilt_library_go_to_the_store(tmp_path):
    text = _BREAK_USER.format(extra="", inside="")
    subject = catalogue.resolve(str(library_of_text(tmp_path / "b.so", text)))
    with open_executor(subject, sandbox=True) as executor:
        runs = [executor.run(from_text("p0 = malloc 100\np1 = malloc 5\n")) for _ in range(2)]
        refused = executor.run(from_text("deny all\np0 = malloc 100\n"))
    assert runs[0] == runs[1]
    assert runs[0].observations[0].granted == 112
    assert runs[0].observations[0].address == runs[0].store_base
    assert refused.observations[1].address == 0


def test_exit_of_a_prebuilt_library_is_survived(tmp_path):
    text = _BREAK_USER.format(extra="#include <stdlib.h>", inside="if (n == 5) exit(7);")
    subject = catalogue.resolve(str(library_of_text(tmp_path / "b.so", text)))
    seen = run(subject, "p0 = malloc 100\np1 = malloc 5\n")
    assert (seen.outcome, seen.done, seen.exit_status) == (Outcome.EXIT, 1, 7)


@pytest.mark.parametrize(
    ("extra", "inside"),
    [
        ("__thread int calls = 3;", "if (calls++ != 3) return NULL;"),
        ("static char *first; __attribute__((constructor)) void a(void) { first = sbrk(32); }\n"
         "static int runs; __attribute__((constructor)) void b(void) { runs++; }",
         "if (runs != 1 || p != first + 32) return NULL;"),
        ("#include <pthread.h>\nstatic pthread_key_t key; static int made;",
         "if (!made++) pthread_key_create(&key, NULL);"
         "if (pthread_getspecific(key)) return NULL; pthread_setspecific(key, p);"),
    ],
    ids=["thread-local", "constructors", "keys"],
)  # fmt: skip
def test_prebuilt_library_is_restored_whole(tmp_path, extra, inside):
    text = _BREAK_USER.format(extra=extra, inside=inside)
    subject = catalogue.resolve(str(library_of_text(tmp_path / "b.so", text)))
    with open_executor(subject, sandbox=True) as executor:
        runs = [executor.run(from_text("p0 = malloc 100\n")) for _ in range(3)]
    assert runs[0].observations[0].address
    assert runs[0] == runs[1] == runs[2]


def test_prebuilt_library_opened_twice_has_two_states(tmp_path):
    text = _BREAK_USER.format(extra="", inside="if (start != p) return NULL;")
    subject = catalogue.resolve(str(library_of_text(tmp_path / "b.so", text)))
    with open_executor(subject, sandbox=False) as one, open_executor(subject, sandbox=False) as two:
        runs = [each.run(from_text("p0 = malloc 100\n")) for each in (one, two, one, two)]
    assert all(each.observations[0].address for each in runs)


def test_library_that_does_not_load_says_why(tmp_path):
    text = _BREAK_USER.format(extra="void nowhere(void);", inside="nowhere();")
    subject = catalogue.resolve(str(library_of_text(tmp_path / "b.so", text)))
    with pytest.raises(SubjectError, match=r"does not load: .*undefined symbol: nowhere"):
        open_executor(subject)
