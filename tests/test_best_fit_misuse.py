"""What best_fit says of pointers that are not its own and of headers that were overwritten.

The cases are those of best_fit_misuse.py.  The rules say nothing here; the last line of the program
and the way it ended are compared.
"""

from __future__ import annotations

import pytest

from allocator import bugs
from tests.best_fit_misuse import (
    CORRUPTIONS,
    FOLDER,
    MISUSES,
    QUIET,
    ended,
    first_wrong,
    is_quiet,
    is_told,
    program,
)

# What finds a misuse: (file, what is there, what is there without it, the case that then goes
# otherwise).
GUARDS = {
    "the address in the checksum": ("blocks.h", " ^ (uintptr_t)block)", ")",
                                    "behind a copy of a header inside its block"),
    "the key in the checksum": ("blocks.h", "(word ^ heap->key)", "word",
                                "the header of another key"),
    "a look at the upper header": ("best_fit.c", "upper = checked(heap, after(block));\n    struct",
                                   "upper = after(block);\n    struct",
                                   "16 bytes over that look like a free block"),
    "a look at the headers of regions": ("best_fit.c", "checked(heap, header_of(*link))",
                                         "header_of(*link)", "a region on the way to another"),
    "a look at the footer's block": ("best_fit.c", " || size_of(below) != size", "",
                                     "a footer that leads into its block"),
    "the state left behind": ("best_fit.c", "    set_header(heap, block, size | below_free);\n", "",
                              "the middle one of three merged"),
    "the rows": ("best_fit.c", "row = row_of(heap, block);", "row = heap->rows;",
                 "a gap between rows"),
    "the list of regions": ("best_fit.c", "!region || header_of(region) != block", "!region",
                            "where a region starts"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISUSES)
def test_it_is_reported_and_not_followed(case: str) -> None:
    assert is_told(program(FOLDER), case)


@pytest.mark.parametrize("case", CORRUPTIONS)
def test_the_predicate_names_what_is_broken(case: str) -> None:
    done = ended(program(FOLDER), f"corrupt {case}")
    assert (done.stdout.strip(), done.stderr) == (CORRUPTIONS[case][1], "")
    assert done.returncode == 0


@pytest.mark.parametrize("case", QUIET)
def test_right_use_is_not_reported(case: str) -> None:
    assert is_quiet(program(FOLDER), case)


@pytest.mark.parametrize("guard", GUARDS)
def test_what_finds_it_can_be_missed(guard: str) -> None:
    """Without it the same case ends otherwise: each guard is there for something."""
    file, find, replace, case = GUARDS[guard]
    texts = {path.name: path.read_text() for path in FOLDER.glob("*.[ch]")}
    assert texts[file].count(find) == 1
    texts[file] = texts[file].replace(find, replace)
    assert not is_told(program(bugs.copy("best_fit-unguarded", texts)), case)


def test_the_kill_table_sees_a_case_that_goes_wrong() -> None:
    """A checksum that is even says nothing of the highest bit."""
    texts = {path.name: path.read_text() for path in FOLDER.glob("*.[ch]")}
    texts["blocks.h"] = texts["blocks.h"].replace("fd93)", "fd94)")
    assert first_wrong(FOLDER) is None
    wrong = first_wrong(bugs.copy("best_fit-even", texts))
    assert wrong == (2, "every bit that a checksum covers")
