"""Broken allocators in pure Python, one flaw each, for the tests of the judge.

They break one rule on purpose and are otherwise the correct one of tests/simulated.py.
"""

from __future__ import annotations

import errno

from models.observation import Outcome
from tests.simulated import BASE, SIGSEGV, Ending, Plain


class AcceptsDoubleFree(Plain):
    def free(self, address):
        if address in self.used:
            super().free(address)


class CrashesOnDoubleFree(Plain):
    def free(self, address):
        if address not in self.used:
            raise Ending(Outcome.SIGNAL, SIGSEGV, address)
        super().free(address)


class CrashesOnFreeNull(Plain):
    def free(self, address):
        if not address:
            raise Ending(Outcome.SIGNAL, SIGSEGV, 2**64 - 8)
        super().free(address)


class RefusesReallocNull(Plain):
    def realloc(self, address, size):
        return super().realloc(address, size) if address else 0


class CrashesOnReallocNull(Plain):
    def realloc(self, address, size):
        if not address:
            raise Ending(Outcome.SIGNAL, SIGSEGV, 2**64 - 8)
        return super().realloc(address, size)


class NullForZero(Plain):
    def malloc(self, size):
        return super().malloc(size) if size else 0


class ZeroTakesNoRoom(Plain):
    """malloc(0) points at the first free byte without taking it."""

    def malloc(self, size):
        address = super().malloc(max(size, 1))
        if not size and address:
            super().free(address)
        return address


class ReallocZeroGivesBlock(Plain):
    def realloc_zero(self, address):
        self.free(address)
        return self.malloc(1)


class IgnoresRefusal(Plain):
    """What sbrk returns on failure is used as if it were memory."""

    def grow(self, size):
        if not super().grow(size):
            self.free_blocks.append((2**64 - 16 - 65536, 65536))
        return True


class CrashesWhenRefused(Plain):
    def grow(self, size):
        if not super().grow(size):
            raise Ending(Outcome.SIGNAL, SIGSEGV, 8)
        return True


class GivesUpForEver(Plain):
    """One refusal, and nothing is granted any more."""

    broke = False

    def place(self, size, alignment):
        if self.broke:
            return self.fail()
        address = super().place(size, alignment)
        self.broke = not address
        return address


class CallocWraps(Plain):
    def calloc(self, count, size):
        product = count * size % 2**64
        return super().calloc(1, product)


class SizeWraps(Plain):
    """size + 16 wraps, and a small block is given."""

    def place(self, size, alignment):
        return super().place((size + 16) % 2**64, alignment)


class IgnoresMaxSize(Plain):
    pass


class GrantsOverPtrdiff(Plain):
    def place(self, size, alignment):
        return super().place(size if size < 2**63 else 16, alignment)


class Misaligns(Plain):
    """Every block one pointer further up, in a larger block."""

    def place(self, size, alignment):
        address = super().place(size + 16, alignment)
        return self.shift(address, 8) if address else 0

    def shift(self, address, by):
        self.used[address + by] = self.used.pop(address)
        return address + by

    def free(self, address):
        if address in self.used:
            super().free(self.shift(address, -8))


class IgnoresAlignment(Plain):
    def aligned(self, kind, alignment, size):
        return self.malloc(size)


class FreesNeighbour(Plain):
    """free() hands the following 16 bytes out as well."""

    def free(self, address):
        if address in self.used:
            start, (length, size) = address, self.used[address]
            self.used[start] = (length + 16, size)
        super().free(address)


class ReachesTooFar(Plain):
    """The end of the memory is taken to be 16 bytes further up."""

    def grow(self, size):
        grown = super().grow(size)
        start, length = self.free_blocks[-1]
        self.free_blocks[-1] = (start, length + 16)
        return grown


class Crops(Plain):
    """A block of memory that was given back to the system, then used."""

    def free(self, address):
        super().free(address)
        self.host.top = 0


class LosesPrefix(Plain):
    def realloc(self, address, size):
        if address and size:
            fresh = self.malloc(size)
            if fresh:
                self.free(address)
            return fresh
        return super().realloc(address, size)


class CallocDirty(Plain):
    def calloc(self, count, size):
        return self.malloc(count * size) if count * size < 2**64 else self.fail()


class FailedReallocFrees(Plain):
    """The old block is freed first; `scribbles` links it into a list inside it."""

    scribbles = False

    def realloc(self, address, size):
        fresh = super().realloc(address, size)
        if address and size and not fresh:
            self.free(address)
            if self.scribbles:
                self.host.write(address, bytes(8))
        return fresh


class FailedReallocScribbles(FailedReallocFrees):
    scribbles = True


class UnderReportsUsable(Plain):
    def usable(self, address):
        return max(super().usable(address) - 32, 1)


class ScribblesBehind(Plain):
    """free() writes a footer 8 bytes past its block."""

    def free(self, address):
        behind = address + self.used[address][0] if address in self.used else 0
        super().free(address)
        if behind and self.host.holds(behind, 8):
            self.host.write(behind, bytes(8))


class ForgetsErrno(Plain):
    def fail(self):
        return 0


class WrongErrno(Plain):
    def fail(self):
        self.host.errno = errno.EAGAIN
        return 0


class FreeSetsErrno(Plain):
    def free(self, address):
        super().free(address)
        self.host.errno = errno.EINVAL


class InvalidAlignmentIsEnomem(Plain):
    def aligned(self, kind, alignment, size):
        address = super().aligned(kind, alignment, size)
        return address or self.fail()


class AcceptsInvalidAlignment(Plain):
    def aligned(self, kind, alignment, size):
        return self.malloc(size)


def ends(outcome, signal=0, status=0):
    """An allocator that ends in `outcome` at its third request."""

    class Ends(Plain):
        def place(self, size, alignment):
            if self.calls == 2:
                raise Ending(outcome, signal, BASE + 0x40 if signal else 0, status)
            return super().place(size, alignment)

    return Ends


class Leaks(Plain):
    """Blocks of 50 bytes are lost when they are freed."""

    def free(self, address):
        if self.used.get(address, (0, 0))[1] == 50:
            del self.used[address]
        else:
            super().free(address)


class NeverMerges(Plain):
    def merge(self):
        self.free_blocks.sort()


def objects(conjunct):
    """An allocator whose own validity predicate objects once two blocks were freed."""

    class Objects(Plain):
        frees = 0

        def free(self, address):
            self.frees += 1
            super().free(address)

        def check(self):
            return conjunct if self.frees >= 2 else ""

    return Objects


class LastFit(Plain):
    """Correct, but not what the exact model of first fit predicts."""

    def take(self, need, size, alignment):
        self.free_blocks.reverse()
        found = super().take(need, size, alignment)
        self.free_blocks.sort()
        return found
