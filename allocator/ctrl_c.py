"""Sees to it that a Ctrl-C is not lost.

What it leads to, each command says by its `except KeyboardInterrupt`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

AGAIN = 0.05  # seconds: the callback that swallowed it is over by then


def insist() -> None:
    """Has a KeyboardInterrupt that no `except` can see raised again.

    Python drops what is raised in a finalizer or in the callback of a weak reference
    (`sys.unraisablehook`), also when it is the signal's exception that happened to be raised there.
    """
    before = sys.unraisablehook

    def told(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            threading.Timer(AGAIN, os.kill, [os.getpid(), signal.SIGINT]).start()
        else:
            before(lost)

    sys.unraisablehook = told
