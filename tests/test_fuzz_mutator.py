"""The mutator: whole operations in, whole operations out, never more bytes than there is room for.

It runs alone here, without libFuzzer's byte mutations, in a C program that traps undefined
behaviour.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from allocator import build
from fuzz.native import FOLDER

# argv: rounds.  Each round mutates or crosses programs in blocks of exactly their capacity.
DRIVER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
size_t LLVMFuzzerCustomMutator(uint8_t *, size_t, size_t, unsigned);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *, size_t, const uint8_t *, size_t, uint8_t *,
                                 size_t, unsigned);
static uint32_t state = 1;
static uint32_t draw(uint32_t below) { state = state * 1664525u + 1013904223u;
                                       return (state >> 8) % below; }
int main(int count, char **words)
{
    int grown = 0, shrunk = 0, same = 0, crossed = 0;
    for (int round = 0; round < atoi(words[count - 1]); round++) {
        size_t capacity = 8 + draw(300), size = draw((uint32_t)capacity + 1);
        uint8_t *data = malloc(capacity), *before = malloc(capacity), *out = malloc(capacity);
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)draw(256);
        memcpy(before, data, size);
        size_t now = LLVMFuzzerCustomMutator(data, size, capacity, draw(1u << 24));
        if (now > capacity || (capacity >= 12 && (now - 8) % 4))
            return 2;
        grown += now > size; shrunk += now < size;
        same += now == size && !memcmp(before, data, size);
        size_t both = LLVMFuzzerCustomCrossOver(before, size, data, now, out, capacity, draw(99));
        if (both > capacity || (both && (both - 8) % 4))
            return 3;
        crossed += both > 8;
        free(data); free(before); free(out);
    }
    printf("%d %d %d %d\n", grown, shrunk, same, crossed);
    return 0;
}
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mutator")
    (folder / "driver.c").write_text(DRIVER)
    trap = ("-fsanitize=undefined", "-fsanitize-trap=undefined", "-O1", "-g", "-fPIC")
    flags = (*trap, f"-I{build.HARNESS}", f"-I{FOLDER}")
    sources = [folder / "driver.c", FOLDER / "mutator.c"]
    objects = [build.compile_object(build.Unit(path, flags, folder)) for path in sources]
    return build.link("mutator-driver", objects, ["-ldl"], suffix="")


def test_it_keeps_to_whole_operations(driver):
    done = subprocess.run([driver, "20000"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.returncode
    grown, shrunk, same, crossed = map(int, done.stdout.split())
    assert min(grown, shrunk, crossed) > 1000, done.stdout
    assert same < 2000, "a mutation that changes nothing wastes an execution"
