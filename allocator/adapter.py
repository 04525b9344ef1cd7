"""Writes the C file that gives every subject the same face: functions named allocheck_*.

Text only; allocator/build.py compiles it, allocator/harness/bind.c collects the functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from allocator.description import Description

_PROLOGUE = """\
/* {name}: what the executor calls, in the words of {origin}. */
#include <stddef.h>
#include <stdint.h>

#define ALLOCHECK_FACE __attribute__((visibility("hidden")))
"""

_BLOCK = """
struct heap_block {
    uint64_t address;
    uint64_t size;
    uint64_t used;
};
"""

# Signature, and the statement around the description's text.
_FACES = {
    "malloc": ("void *allocheck_malloc(size_t size)", "return {text};"),
    "calloc": ("void *allocheck_calloc(size_t count, size_t size)", "return {text};"),
    "realloc": ("void *allocheck_realloc(void *ptr, size_t size)", "return {text};"),
    "aligned_alloc": (
        "void *allocheck_aligned_alloc(size_t alignment, size_t size)",
        "return {text};",
    ),
    "memalign": ("void *allocheck_memalign(size_t alignment, size_t size)", "return {text};"),
    "posix_memalign": (
        "int allocheck_posix_memalign(void **result, size_t alignment, size_t size)",
        "return {text};",
    ),
    "free": ("void allocheck_free(void *ptr)", "{text};"),
    "usable_size": ("size_t allocheck_usable_size(void *ptr)", "return {text};"),
    "check": ("const char *allocheck_check(void)", "return {text};"),
    "walk": (
        "size_t allocheck_walk(struct heap_block *blocks, size_t capacity)",
        "return {text};",
    ),
}

_UNUSED = {
    "malloc": ("size",),
    "calloc": ("count", "size"),
    "realloc": ("ptr", "size"),
    "aligned_alloc": ("alignment", "size"),
    "memalign": ("alignment", "size"),
    "posix_memalign": ("result", "alignment", "size"),
    "free": ("ptr",),
    "usable_size": ("ptr",),
    "check": (),
    "walk": ("blocks", "capacity"),
}

# The value of the text, 0 for a void one.  Both branches are valid C whatever the text's type.
_INIT = """
#define ALLOCHECK_IS_VOID(...) __builtin_types_compatible_p(__typeof__(({{ __VA_ARGS__; }})), void)
#define ALLOCHECK_VALUE(...) __builtin_choose_expr( \\
    ALLOCHECK_IS_VOID(__VA_ARGS__), (({{ __VA_ARGS__; }}), 0), ({{ __VA_ARGS__; }}))
#define ALLOCHECK_IS_POINTER(value) (__builtin_classify_type(value) == 5)
#define ALLOCHECK_IS_BOOL(value) _Generic((value), _Bool: 1, default: 0)

ALLOCHECK_FACE int allocheck_init(void *arena, size_t arena_size);
int allocheck_init(void *arena, size_t arena_size)
{{
    (void)arena, (void)arena_size;
    __auto_type allocheck_value = ALLOCHECK_VALUE(
{line}
{text}
    );
    return {failed};
}}
"""

_FAILED = {
    None: "ALLOCHECK_IS_POINTER(allocheck_value) || ALLOCHECK_IS_BOOL(allocheck_value)"
    " ? !allocheck_value : !!allocheck_value",
    "zero": "!!allocheck_value",
    "nonzero": "!allocheck_value",
    "any": "(void)allocheck_value, 0",
}


def write(description: Description) -> str:
    """The adapter of a described allocator, as C text.

    Errors in the description's own C are reported by the compiler under its file and key.
    """
    calls = description.calls
    parts = [_PROLOGUE.format(name=_comment(description.name), origin=_comment(description.origin))]
    if "walk" in calls:
        parts.append(_BLOCK)
    parts += [_include(header) for header in description.headers]
    heap = f"static {calls.get('heap_type', 'void *')} heap;"
    parts.append(f"{_line(description, 'heap_type')}\n__attribute__((unused)) {heap}")
    if "declare" in calls:
        parts.append(f"{_line(description, 'declare')}\n{calls['declare']}")
    parts += [_face(description, function) for function in _FACES if function in calls]
    parts.append(_init(description))
    return "\n".join(parts)


def doors(library: Path, names: Iterable[str]) -> str:
    """The C text through which an adapter reaches these functions of a prebuilt library."""
    names = sorted(names)
    lines = ["/* Doors to a prebuilt library. */", '#include "doors.h"', ""]
    lines += [f'DOOR({index}, "{name}");' for index, name in enumerate(names)]
    strings = ", ".join(f'"{name}"' for name in names)
    path = str(library).replace("\\", "\\\\").replace('"', '\\"')
    lines += [
        f"void *allocheck_doors[{len(names)}];",
        f"const char *const allocheck_door_names[] = {{ {strings} }};",
        f"const size_t allocheck_door_count = {len(names)};",
        f'const char allocheck_library_path[] = "{path}";',
    ]
    return "\n".join(lines) + "\n"


def _include(header: str) -> str:
    return f"#include {header}" if header.startswith("<") else f'#include "{header}"'


def _line(description: Description, key: str) -> str:
    name = f"{description.origin} [calls] {key}".replace("\\", "\\\\").replace('"', '\\"')
    return f'#line 1 "{name}"'


def _face(description: Description, function: str) -> str:
    signature, statement = _FACES[function]
    unused = "".join(f"    (void){name};\n" for name in _UNUSED[function])
    text = statement.format(text=f"\n{description.calls[function]}\n")
    keyword, rest = text.split("\n", 1)
    return (
        f"\nALLOCHECK_FACE {signature};\n{signature}\n{{\n{unused}    {keyword}\n"
        f"{_line(description, function)}\n{rest}\n}}"
    )


def _init(description: Description) -> str:
    text = description.calls.get("init")
    if not text:
        return ""
    return _INIT.format(
        line=_line(description, "init"),
        text=text.rstrip(";"),
        failed=_FAILED[description.calls.get("init_ok")],
    )


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")
