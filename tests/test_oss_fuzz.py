"""The build files for OSS-Fuzz and ClusterFuzzLite, run in a scratch folder; not a container."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from fuzz import guided

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "ci" / "oss_fuzz" / "build.sh"
POOL = r"""
#include <stddef.h>
static char bytes[1 << 16];
static size_t used;
void *pool_malloc(size_t size)
{
    void *block = bytes + used;
    if (size > 1024 || used > sizeof bytes - 2048)
        return NULL;
    used += size == 48 ? 16 : (size + 15) & ~(size_t)15;
    return block;
}
void pool_free(void *block) { (void)block; }
"""

pytestmark = pytest.mark.skipif(not guided.available(), reason="atheris is not installed")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oss-fuzz")
    source = folder / "src" / "mine" / "pool.c"
    source.parent.mkdir(parents=True)
    source.write_text(POOL)
    (folder / "src" / "allocheck").symlink_to(ROOT)
    environment = {
        **os.environ,
        "SRC": str(folder / "src"),
        "OUT": str(folder / "out"),
        "PYTHON": sys.executable,
        "ALLOCHECK_SITE": sysconfig.get_path("purelib"),
        "SUBJECTS": f"explicit_list {source}",
    }
    subprocess.run([BUILD], env=environment, check=True)
    source.unlink()  # the target has all that it needs
    return folder / "out"


def run(out: Path, name: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [out / name, *map(str, words)],
        cwd=out,
        env=environment | {"ALLOCHECK_CACHE": str(out / "store")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_clean_subject_runs_to_its_end(out):
    done = run(out, "allocheck_explicit_list", "-runs=300", "-seed=1")
    assert done.returncode == 0, done.stderr
    assert "Done 300 runs" in done.stderr
    assert "Loaded 2 modules" in done.stderr, "C edges and heap states"


def test_a_broken_one_leaves_a_crash_file_that_replays(out):
    done = run(out, "allocheck_pool", "-runs=5000", "-seed=1")
    assert done.returncode == 77, done.stderr
    assert "reproduced in a fresh process" in done.stderr + done.stdout
    (crash,) = out.glob("crash-*")
    again = run(out, "allocheck_pool", crash)
    assert again.returncode == 77
    assert "reproduced in a fresh process" in again.stderr + again.stdout


def test_targets_can_be_told_from_other_files(out):
    for name in ("allocheck_explicit_list", "allocheck_pool"):
        assert "LLVMFuzzerTestOneInput" in (out / name).read_text()
        assert os.access(out / name, os.X_OK)
        with zipfile.ZipFile(out / f"{name}_seed_corpus.zip") as seeds:
            assert len(seeds.namelist()) == guided.SEEDS


def test_a_subject_that_is_none_is_told():
    command = [sys.executable, ROOT / "fuzz" / "target.py"]
    for words, said in ((["nonsense"], "no such bundled"), ([], "usage:")):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
