"""A Ctrl-C that falls into a callback Python lets no exception out of is heard all the same.

What a command then does is tested with the command.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOST = """
import os, signal, time, weakref
from allocator import ctrl_c

class Anything: pass

if {insist}:
    ctrl_c.insist()
it = Anything()
there = weakref.ref(it, lambda _: os.kill(os.getpid(), signal.SIGINT))
try:
    del it
    time.sleep({seconds})
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize(("insist", "seconds", "told"), [(True, 30, "heard"), (False, 1, "lost")])
def test_an_interrupt_in_a_weak_reference_s_callback(insist, seconds, told) -> None:
    program = LOST.format(insist=insist, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{told}\n"
    assert (done.stderr == "") == insist


def test_other_lost_exceptions_are_told_as_ever() -> None:
    program = """
from allocator import ctrl_c
class Anything:
    def __del__(self): raise ValueError("in a finalizer")
ctrl_c.insist()
Anything()
print("on")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "on\n"
    assert "in a finalizer" in done.stderr
