"""What programs an exploration looks at: which verbs, how many operations, after what.

It runs none of them; programs.py does.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.trace import Op
from proofs.terms import WORD

ODD = "free(NULL), realloc(NULL, n), an alignment of 8 or 24, a product that overflows"
GAPS = (16, 25)  # bytes that others take: a multiple of 16, and not


@dataclass(frozen=True)
class Menu:
    """What a program may be made of: verbs, the alignments tried, how many operations.

    most       the largest request, a power of two less 1; 0 for any size
    prefix     operations with plain numbers that come first, all pages granted; depth counts the
               rest
    by_powers  sizes from one power of two to the next are looked at apart, in forms that show it:
               for an allocator that forks on the power it is many questions less
    """

    verbs: tuple[str, ...]
    depth: int
    alignments: tuple[int, ...] = ()
    foreign: bool = False
    most: int = 0
    prefix: tuple[Op, ...] = ()
    by_powers: bool = False

    def told(self) -> str:
        """The menu in words, for a report's assumptions."""
        extra = (
            f"; others may take {GAPS[0]} or {GAPS[1]} bytes before each" if self.foreign else ""
        )
        if self.verbs == ("odd",):
            return f"as the last operation {ODD}"
        extra += f"; of up to {self.most} bytes, or of PTRDIFF_MAX + 1" if self.most else ""
        extra += (
            ", or resized to more than there is" if self.most and "realloc" in self.verbs else ""
        )
        if self.prefix:
            extra += f"; after {', '.join(map(str, self.prefix))}"
        return f"{', '.join(self.verbs)}{self._aligned()}: up to {self.depth} operations{extra}"

    def _aligned(self) -> str:
        if len(self.alignments) == WORD:
            return " (to every power of two)"
        return f" (to {', '.join(map(str, self.alignments))})" if self.alignments else ""
