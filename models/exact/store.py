"""Where an exact model's pages come from: the harness's store, as a model of its own.

It hands out offsets from the base of the program break, and holds no bytes.
"""

from __future__ import annotations

from models.contract import PTRDIFF_MAX
from models.trace import DENY_ALL

PAGE = 4096
RESERVE = 1 << 30  # bytes of address space for mapped regions; allocator/harness/store.h says so
DEFAULT_STORE = 16 << 20  # what a trace that names no store gets; allocator/region.py says so


def up(value: int, step: int) -> int:
    """`value` rounded up to a multiple of `step`."""
    return -(-value // step) * step


class Store:
    """A break that moves, mapped regions, a cap, and the refusals that a trace asks for.

    `size` is the cap in bytes over both; `maps` is the offset of the lowest mapped page from the
    base of the break.  Every function counts as one request for pages only where it says so;
    `requests` counts those that were well-formed, granted or not.
    """

    def __init__(self, size: int, maps: int = 0) -> None:
        self.size = size
        self.maps = maps
        self.top = 0
        self.granted = 0
        self.deny = 0
        self.requests = 0
        self._end = 0  # of what grow() gave last
        self._pages: set[int] = set()

    def grow(self, size: int) -> int | None:
        """A request: the offset of `size` new bytes at the break, None when refused."""
        if size > PTRDIFF_MAX or not self._may_grant(size):
            return None
        if self.top + size > up(self.size, PAGE):
            return None
        self.granted += size
        self.top += size
        self._end = self.top
        return self.top - size

    def shrink(self, size: int) -> bool:
        """Gives the last `size` bytes of the break back; False when somebody's lie behind them."""
        if self.top != self._end:
            return False
        self._end -= size
        self.top -= size
        self.granted -= size
        return True

    def foreign(self, size: int) -> None:
        """Somebody else moves the break up."""
        self.top += size

    def map(self, size: int) -> int | None:
        """A request: the offset of a new region of `size` bytes, at the lowest run of pages."""
        if not size or not self._may_grant(size):
            return None
        count = size // PAGE
        first = 0
        while any(page in self._pages for page in range(first, first + count)):
            first += 1
        return self._take(first, count)

    def extend(self, region: int, size: int, new_size: int) -> bool:
        """A request, if the pages behind the region are free: lets it grow where it lies."""
        first, count = self._page(region) + size // PAGE, (new_size - size) // PAGE
        if first + count > RESERVE // PAGE:
            return False
        if any(page in self._pages for page in range(first, first + count)):
            return False
        if not self._may_grant(new_size - size):
            return False
        self._take(first, count)
        return True

    def unmap(self, region: int, size: int) -> None:
        """Gives the pages of [region, region + size) back."""
        first = self._page(region)
        gone = self._pages & set(range(first, first + size // PAGE))
        self._pages -= gone
        self.granted -= len(gone) * PAGE

    def _page(self, offset: int) -> int:
        return (offset - self.maps) // PAGE

    def _take(self, first: int, count: int) -> int:
        self._pages |= set(range(first, first + count))
        self.granted += count * PAGE
        return self.maps + first * PAGE

    def _may_grant(self, size: int) -> bool:
        """Counts the request down; whether `size` more bytes are granted."""
        self.requests += 1
        if self.deny and self.deny != DENY_ALL:
            self.deny -= 1
            if not self.deny:
                return False
        return self.deny != DENY_ALL and self.granted + size <= self.size
