"""The proofs for 32 bits, in processes of their own: a word's width is fixed at the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proofs.layout_ir import Layout
from proofs.read_ir import UnsupportedIr, read_ir

ROOT = Path(__file__).resolve().parent.parent
POOL = """
#include <stddef.h>
#include <stdint.h>
static _Alignas(16) char pool[4096];
static size_t used;
void *my_malloc(size_t size)
{
    if (size > sizeof pool - used - 16)
        return NULL;
    char *block = pool + used;
    used += (size + 15) & ~(size_t)15;
    return block;
}
void my_free(void *block) { (void)block; }
void *my_calloc(size_t count, size_t size)
{
    size_t total = count * size;
    %s
    return my_malloc(total);
}
"""


def proved(file: Path, *options: str) -> dict[str, dict]:
    """The claims' entries in the report for 32 bits, by name."""
    command = [sys.executable, "proofs/run.py", str(file), "--prefix", "my_", "--bits", "32"]
    command += ["--jobs", "1", "--json", "-", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode in (0, 1), done.stderr
    (subject,) = json.loads(done.stdout)["subjects"]
    return {claim["name"]: claim for claim in subject["claims"]}


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        ("if (size && count > SIZE_MAX / size) return NULL;", "proved"),
        ("if (size && count > 0xffffffffffffffffu / size) return NULL;", "refuted"),
    ],
)
def test_a_product_wraps_at_4_gib(tmp_path, check, verdict):
    file = tmp_path / "pool.c"
    file.write_text(POOL % check)
    claim = proved(file, "--claim", "first.product")["first.product"]
    assert claim["verdict"] == verdict, claim
    if verdict == "refuted":
        (call,) = [line for line in claim["trace"].splitlines() if "= calloc" in line]
        count, size = map(int, call.split()[-2:])
        assert count < 2**32
        assert size < 2**32 <= count * size


def test_code_of_another_width_is_told_in_one_line():
    text = 'target datalayout = "e-m:e-p:32:32-i128:128-S128"\ndefine void @f() {\n  ret void\n}\n'
    with pytest.raises(UnsupportedIr, match="pointers of 32 bits, read for 64: run with --bits 32"):
        read_ir(text)


def test_a_width_that_there_is_not():
    command = [sys.executable, "proofs/run.py", "explicit_list", "--bits", "16"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr.strip()) == (2, "proofs: --bits 16: there are 64 and 32")


@pytest.mark.parametrize(
    ("bits", "layout", "offset"),
    [
        ("32", "e-m:e-p:32:32-f64:32:64-S128", 4),  # x86
        ("32", "e-m:e-p:32:32-Fi8-i64:64-v128:64:128-a:0:32-n32-S64", 8),  # ARM
        ("64", "e-m:e-i64:64-i128:128-S128", 8),
    ],
)
def test_where_a_field_of_64_bits_lies(bits, layout, offset):
    program = (
        "from proofs.layout_ir import Layout;"
        f"l = Layout.of('target datalayout = \"{layout}\"\\n%s = type {{ i8, i64, ptr }}\\n');"
        "print(l.field('%s', 1)[0], l.size('ptr'))"
    )
    environment = {**os.environ, "ALLOCHECK_BITS": bits}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(offset), str(int(bits) // 8)], done.stderr


def test_text_without_a_layout_is_taken_for_64_bits():
    assert Layout.of("%s = type { i8, i64 }\n").field("%s", 1)[0] == 8
