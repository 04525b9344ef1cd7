"""A block of a modelled heap whose payload lies between a header and, with some, a footer.

It knows neither its neighbours nor what it is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(eq=False)
class Block:
    """One block: `start` is the offset of its header from the base, `size` counts its overhead.

    HEAD and FOOT are the bytes of overhead below and above the payload.
    """

    HEAD: ClassVar[int] = 16
    FOOT: ClassVar[int] = 0

    start: int
    size: int
    used: bool = True

    @property
    def end(self) -> int:
        """Offset of the first byte behind the block."""
        return self.start + self.size

    @property
    def payload(self) -> int:
        """Offset of the payload from the base."""
        return self.start + self.HEAD

    @property
    def usable(self) -> int:
        """Bytes of the payload."""
        return self.size - self.HEAD - self.FOOT
