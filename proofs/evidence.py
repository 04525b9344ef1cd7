"""Why a refutation is to be believed: the access that is outside, with its numbers.

Words alone, for a report; whether the compiled library shows anything is for replay.py to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from proofs.claims import Refutation
from proofs.path import Touch
from proofs.solver import Model

_FAR = 1 << 40  # bytes; so far from all memory that the distance says nothing
_UNSEEN_WRITE = (
    "fuzz/run.py sees a write only in a live block, in the first bytes behind granted memory, or "
    "where no page is: not this one"
)
_UNSEEN_READ = "fuzz/run.py sees a read only where no page is: not this one"
_UNSEEN_UNDEFINED = (
    "this build makes something harmless of it; C allows another to make anything of it, and "
    "fuzz/run.py sees only what this one makes"
)
_UNSEEN = (
    "fuzz/run.py sees blocks, what is in them, and how a call ends: this shows in none of them"
)


def numbers(refutation: Refutation) -> Iterator[str]:
    """Where the access lies, in the refuting state; nothing where the claim is not about one."""
    touch, model = refutation.touch, refutation.model
    if touch is None:
        return
    at, size = model.value(touch.address), model.value(touch.size)
    areas = [(start, length, kind) for start, length, kind in _areas(touch, model) if length]
    start, length, kind = min(
        areas, key=lambda area: _distance(at, size, *area[:2]), default=(0, 0, "")
    )
    far = not areas or _distance(at, size, start, length) > _FAR
    base = min((first for first, *_ in areas), default=0)
    place = f"{at:#x}" if far else f"+{at - base:#x}" if at >= base else f"-{base - at:#x}"
    beside = "far from all memory" if far else _beside(at, size, start, length, kind)
    yield f"{size} byte{'s' * (size != 1)} at {place}, {beside}"


def _areas(touch: Touch, model: Model) -> Iterator[tuple[int, int, str]]:
    """(start, bytes, what it is) of all memory that there was."""
    pages = getattr(touch.scene, "pages", None)
    for kind, pieces in (
        ("granted below the break", getattr(pages, "pieces", ())),
        ("mapped", getattr(pages, "maps", ())),
        ("of its arena or a variable", getattr(pages, "room", ())),
    ):
        for start, length in pieces:
            yield model.value(start), model.value(length), kind


def _distance(at: int, size: int, start: int, length: int) -> int:
    return max(start - at, at + size - start - length, 0)


def _beside(at: int, size: int, start: int, length: int, kind: str) -> str:
    whole = f"the {length} bytes {kind}"
    if at >= start + length:
        return f"{at - start - length} bytes behind the end of {whole}"
    if at < start:
        return f"{start - at} bytes before {whole}"
    return f"{at + size - start - length} of them behind the end of {whole}"


def unseen(refutation: Refutation, family: str) -> str:
    """Why the compiled library need not show it."""
    if family == "no_undefined":
        return _UNSEEN_UNDEFINED
    if refutation.touch is None or family != "bounds":
        return _UNSEEN
    return _UNSEEN_WRITE if refutation.touch.writes else _UNSEEN_READ
