"""The only ctypes: loads the executor and subjects into this process and calls them.

One function of the executor a method, nothing more; executor.py makes runs of it.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import shutil
import tempfile
from pathlib import Path

from allocator import build

_POINTER, _SIZE, _U64, _U32 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint32
_PROTOTYPES = {
    "executor_open": (_POINTER, [_POINTER, _POINTER, ctypes.POINTER(ctypes.c_char_p)]),
    "executor_run": (None, [_POINTER]),
    "executor_begin": (None, [_POINTER]),
    "executor_step": (None, [_POINTER]),
    "executor_end": (None, [_POINTER]),
    "executor_enumerate": (ctypes.c_int, [_POINTER, _POINTER, _SIZE, _U64, _U64]),
    "executor_walk": (_SIZE, [_POINTER, _POINTER, _SIZE]),
    "executor_run_bytes": (_U32, [_POINTER, _POINTER, ctypes.c_char_p, _SIZE]),
    "executor_search": (_U64, [_POINTER, _POINTER, _U64, _U64, _SIZE]),
    "executor_count_states": (None, [_POINTER, _POINTER]),
    "executor_drive": (None, [_POINTER, _POINTER]),
    "executor_close": (None, [_POINTER]),
    "guard_install": (None, []),
    "executor_confine": (None, [_POINTER]),
    "confine_file": (ctypes.c_int, [ctypes.c_int]),
}


class LoadError(Exception):
    """A library that cannot be loaded: the loader's own sentence."""


class _Decoder(ctypes.Structure):
    _fields_ = (("ops", _POINTER), ("store", _POINTER), ("limits", _POINTER))


@functools.cache
def harness() -> ctypes.CDLL:
    """The executor's library, built and loaded on first use."""
    library = ctypes.CDLL(str(build.harness_library()))
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def load_global(path: str) -> None:
    """Loads a library whose symbols others must find; LoadError when it cannot be loaded."""
    _load(path, ctypes.RTLD_GLOBAL)


def has_symbol(name: str) -> bool:
    """Whether a library loaded for all to see offers this symbol."""
    return hasattr(ctypes.CDLL(None), name)


def install_guard() -> None:
    """Takes the signals (back) from whoever installed handlers since."""
    harness().guard_install()


def keep_file(file: int) -> int:
    """The same file under a number where no subject closes it, once Door.confine was called."""
    return int(harness().confine_file(file))


def register_counters(core: str, address: int, size: int) -> None:
    """Shows libFuzzer `size` bytes of counters at `address` as one more module.

    `core` is the path of atheris' core, which must be loaded already.
    """
    library = ctypes.CDLL(core, mode=ctypes.RTLD_GLOBAL)
    init = getattr(library, "__sanitizer_cov_8bit_counters_init")
    pcs_init = getattr(library, "__sanitizer_cov_pcs_init")
    init.argtypes = pcs_init.argtypes = [_POINTER, _POINTER]
    # libFuzzer wants a (pc, flags) pair for every counter; invented ones, far from any code.
    pairs = (ctypes.c_uint64 * (2 * size))(
        *(value for i in range(size) for value in (0x10000 + i, 0))
    )
    _kept_alive.append(pairs)
    init(address, address + size)
    pcs_init(ctypes.addressof(pairs), ctypes.addressof(pairs) + ctypes.sizeof(pairs))


_kept_alive: list[object] = []
_loaded: set[Path] = set()


def _load(path: str, mode: int = ctypes.RTLD_LOCAL) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(path, mode=mode | os.RTLD_NOW)
    except OSError as error:
        raise LoadError(str(error)) from None


def _load_private(path: Path) -> ctypes.CDLL:
    """A library with static data of its own, even when the same file is loaded already."""
    if path not in _loaded:
        _loaded.add(path)
        return _load(str(path))
    with tempfile.TemporaryDirectory(prefix="allocheck-") as folder:
        copy = Path(folder) / path.name
        shutil.copy(path, copy)
        return _load(str(copy))


# Where struct subject holds counters_start and counters_end.
_COUNTERS_AT = (120, 128)


class Door:
    """An opened subject in this process; `region` must outlive it."""

    def __init__(self, library: Path, region: mmap.mmap, decoder: Path | None = None):
        self._library = _load_private(library)
        self._harness = harness()
        self._buffer = ctypes.c_char.from_buffer(region)
        self.address = ctypes.addressof(self._buffer)
        table = ctypes.c_char.in_dll(self._library, "allocheck_subject")
        error = ctypes.c_char_p()
        self._executor = self._harness.executor_open(
            self.address, ctypes.addressof(table), ctypes.byref(error)
        )
        if not self._executor:
            del self._buffer
            raise LoadError((error.value or b"cannot be opened").decode(errors="replace"))
        self._decoder = self._load_decoder(decoder) if decoder else None
        self._counters: ctypes.Array[ctypes.c_uint8] | None = None

    def _load_decoder(self, path: Path) -> _Decoder:
        library = _load(str(path))
        functions = (library.allocheck_decode, library.allocheck_decode_store)
        ops, store = (ctypes.cast(function, _POINTER) for function in functions)
        _kept_alive.append(library)
        return _Decoder(ops, store, None)

    def set_limits(self, limits: bytes) -> None:
        """What the decoder may generate: fuzz/decoder.h, struct decode_limits."""
        self._limits = ctypes.create_string_buffer(limits, len(limits))
        assert self._decoder is not None
        self._decoder.limits = ctypes.addressof(self._limits)
        self._decoder_at = ctypes.addressof(self._decoder)

    def confine(self) -> None:
        """For ever: no second process; the subject's own system calls go to the harness."""
        self._harness.executor_confine(self._executor)

    def run(self) -> None:
        """Runs the region's operations."""
        self._harness.executor_run(self._executor)

    def begin(self) -> None:
        """Restores the subject and starts it."""
        self._harness.executor_begin(self._executor)

    def step(self) -> None:
        """Executes the operation at the region's `done`."""
        self._harness.executor_step(self._executor)

    def end(self) -> None:
        """Checks what lives."""
        self._harness.executor_end(self._executor)

    def walk(self, offset: int, capacity: int) -> int:
        """Writes the subject's blocks at `offset` of the region; how many there are."""
        return int(self._harness.executor_walk(self._executor, self.address + offset, capacity))

    def enumerate(self, offset: int, choices: int, count: int, most: int) -> int:
        """Tries operations on every heap: harness/enumerate.h; 0 if there is no memory."""
        area = self.address + offset
        return int(self._harness.executor_enumerate(self._executor, area, choices, count, most))

    def run_bytes(self, data: bytes) -> int:
        """Decodes and runs one program; not 0 if it is suspicious."""
        return int(
            self._harness.executor_run_bytes(self._executor, self._decoder_at, data, len(data))
        )

    def search(self, seed: int, count: int, length: int) -> int:
        """Runs `count` random programs or fewer, until one is suspicious; how many it ran."""
        return int(
            self._harness.executor_search(self._executor, self._decoder_at, seed, count, length)
        )

    def drive(self, core: str, words: list[str]) -> int:
        """Runs libFuzzer's own main loop on this executor, with no Python between programs.

        `core` is the path of atheris' core, loaded already; `words` is libFuzzer's argv.
        """
        self._harness.executor_drive(self._executor, self._decoder_at)
        driver = ctypes.CDLL(core, mode=ctypes.RTLD_GLOBAL).LLVMFuzzerRunDriver
        raw = (ctypes.c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)
        count, values = ctypes.c_int(len(words)), ctypes.cast(raw, ctypes.POINTER(ctypes.c_char_p))
        target = ctypes.cast(self._harness.executor_drive_one, _POINTER)
        return int(driver(ctypes.byref(count), ctypes.byref(values), target))

    def count_states(self, size: int) -> int:
        """Turns heap-state counters on, `size` of them (STATE_COUNT of states.h); their address."""
        self._counters = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(self._counters)
        self._harness.executor_count_states(self._executor, address)
        return address

    def counters(self) -> tuple[bytes | None, bytes]:
        """C coverage counters (None: built without) and heap-state counters; both start anew."""
        table = ctypes.addressof(ctypes.c_char.in_dll(self._library, "allocheck_subject"))
        start, end = (ctypes.c_void_p.from_address(table + at).value or 0 for at in _COUNTERS_AT)
        edges = ctypes.string_at(start, end - start) if end > start else None
        states = bytes(self._counters or b"")
        if edges:
            ctypes.memset(start, 0, end - start)
        if self._counters:
            ctypes.memset(self._counters, 0, len(states))
        return edges, states

    def close(self) -> None:
        """Gives back what was opened; the library stays loaded."""
        if self._executor:
            self._harness.executor_close(self._executor)
            self._executor = None
            del self._buffer
