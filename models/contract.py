"""The contract: what an allocator promises; the defaults promise least.

A plain value, filled from a subject's TOML file; it judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePath

PTRDIFF_MAX = 2**63 - 1

_CHOICES = {
    "malloc_zero": ("null", "unique", "any"),
    "realloc_zero": ("never", "free", "unique", "keep"),
}
_DETECTIONS = dict.fromkeys(("double_free", "interior_free", "realloc_freed"), ("abort",))


class ContractError(ValueError):
    """A contract that cannot be: the message names the key and the choices."""


@dataclass(frozen=True)
class Contract:
    """An allocator's promises.

    alignment               bytes; 0 means C23's rule (7.24.3): aligned for any object that fits
                            the request, so the largest power of two up to min(size, 16)
    malloc_zero             what malloc(0) gives: null, unique (a block of its own), any
    realloc_zero            what realloc(p, 0) does: never (not generated: undefined in C23),
                            free (frees, NULL), unique (a block of its own), keep (NULL, p stays)
    free_null               free(NULL) does nothing
    realloc_null            realloc(NULL, n) is malloc(n)
    refuses_over_ptrdiff    requests over PTRDIFF_MAX are refused
    max_size                larger requests are refused (None: no such promise)
    enomem                  errno is ENOMEM after a failed request
    free_preserves_errno    free keeps errno (POSIX.1-2024)
    usable_writable         all of usable_size may be written
    coalesces               once everything is freed, the largest block is available again
    reclaims                what is freed can be had again: a closed cycle can repeat for ever
    gives_back              once everything is freed no page is held, unless others have moved
                            the program break
    threads                 calls from several threads at once are allowed
    foreign                 others may move the program break
    invalid_alignment       an invalid alignment is refused (EINVAL from posix_memalign)
    detects                 misuse -> how it is detected (only "abort" so far)
    arena                   bytes handed to init (0: the subject has no arena)
    """

    alignment: int = 8
    malloc_zero: str = "any"
    realloc_zero: str = "never"
    free_null: bool = True
    realloc_null: bool = True
    refuses_over_ptrdiff: bool = False
    max_size: int | None = None
    enomem: bool = False
    free_preserves_errno: bool = False
    usable_writable: bool = False
    coalesces: bool = False
    reclaims: bool = False
    gives_back: bool = False
    threads: bool = False
    foreign: bool = False
    invalid_alignment: bool = False
    detects: Mapping[str, str] = field(default_factory=dict)
    arena: int = 0

    def promised_alignment(self, size: int) -> int:
        """The alignment promised to a request of `size` bytes, in bytes."""
        if self.alignment:
            return self.alignment
        return min(16, 1 << (size.bit_length() - 1)) if size else 1

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise ContractError(f"{key} is one of {', '.join(choices)}")
        if self.alignment < 0 or self.alignment & (self.alignment - 1):
            raise ContractError("alignment is a power of two, or 0 for C23's rule")
        for misuse, how in self.detects.items():
            if how not in _DETECTIONS.get(misuse, ()):
                raise ContractError(f"detects: {misuse} = {how} is not known: {_DETECTIONS}")


def from_table(table: Mapping[str, object]) -> Contract:
    """A contract from a TOML table; raises ContractError on an unknown key or a wrong type."""
    known = {entry.name: entry for entry in fields(Contract)}
    for key, value in table.items():
        if key not in known:
            raise ContractError(f"unknown key {key!r} (known: {', '.join(sorted(known))})")
        _check_type(key, value)
    return Contract(**table)  # type: ignore[arg-type]


def _check_type(key: str, value: object) -> None:
    default = getattr(Contract(), key)
    expected = dict if key == "detects" else int if default is None else type(default)
    if type(value) is not expected:
        raise ContractError(f"{key} takes {expected.__name__}, not {value!r}")
    if expected is int and not 0 <= value < 2**64:  # type: ignore[operator]
        raise ContractError(f"{key} is not in 0..SIZE_MAX")


def has_no_description(subject: str) -> bool:
    """Whether a subject's name is that of a .c or .so: the command line has to promise for it."""
    return any(each in (".c", ".so") for each in PurePath(subject).suffixes)
