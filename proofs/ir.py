"""Plain frozen records of an LLVM module: what the engine executes.

They know neither llvmlite nor z3; read_ir.py makes them, engine.py runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proofs.target import TARGET

POINTER_BITS = TARGET.bits


class UnsupportedIr(Exception):
    """Something that the engine has no meaning for: one line that shows it.

    placed  whether the line says where it stands
    """

    placed = False

    def at(self, function: str, place: str) -> UnsupportedIr:
        """The same, with its function and its file:line unless it has them."""
        if self.placed:
            return self
        where = f"{place}: {function}" if place else function
        told = UnsupportedIr(f"{where}: {self}")
        told.placed = True
        return told


@dataclass(frozen=True, slots=True)
class Variable:
    """A parameter or the result of an instruction."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A constant of `width` bits."""

    value: int
    width: int


@dataclass(frozen=True, slots=True)
class Undefined:
    """undef or poison: any value at all."""

    width: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """The address of a function or of a global variable, `offset` bytes into it."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """A basic block as the target of a branch."""

    name: str


@dataclass(frozen=True, slots=True)
class Expression:
    """A constant computed of others, the places of symbols among them: `step` says how."""

    step: Instruction


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A constant structure, its fields in order."""

    parts: tuple[Operand, ...]


Operand = Variable | Number | Undefined | Symbol | Label | Expression | Aggregate


@dataclass(frozen=True, slots=True)
class Access:
    """How a load or store touches memory: bytes, and the alignment the compiler relies on.

    fields  (offset, bits) of each where a structure is touched as a whole
    """

    size: int
    alignment: int
    fields: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AddressSteps:
    """getelementptr with its types resolved: base + offset + sum(index * stride), in bytes.

    `strides` belongs to the operands after the base; 0 where the index went into `offset`.
    """

    offset: int
    strides: tuple[int, ...]


Detail = str | int | Access | AddressSteps | tuple | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    `detail` depends on the opcode: the predicate of icmp, the incoming labels of phi, an Access,
    AddressSteps, the callee of a direct call (None: the last operand is the function pointer),
    the index of extractvalue and insertvalue, ((value, label), ...) of switch, the Access of
    alloca.  `place` is its file:line where known.
    """

    opcode: str
    result: str
    width: int
    operands: tuple[Operand, ...]
    detail: Detail
    text: str
    place: str = ""

    @property
    def there(self) -> str:
        """Its place, as the end of a sentence."""
        return f", {self.place}" if self.place else ""


@dataclass(frozen=True, slots=True)
class Block:
    """A basic block; `trap` says that it does nothing but report undefined behaviour."""

    name: str
    instructions: tuple[Instruction, ...]
    trap: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A defined function; parameters as (name, bits).

    copied  bytes of what a pointer points to that is handed over by value, 0 for a plain parameter
    """

    name: str
    parameters: tuple[tuple[str, int], ...]
    blocks: Mapping[str, Block]
    entry: str
    copied: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GlobalVariable:
    """A global: its size in bytes, and what it holds at first.

    parts  (offset, value) of all that is not zero; None where another module defines it, or
           where its text is not understood
    """

    name: str
    size: int
    constant: bool
    parts: tuple[tuple[int, Number | Symbol | Expression], ...] | None

    @property
    def text(self) -> str | None:
        """The characters of a string up to its NUL; None for anything else."""
        if self.parts is None or any(not isinstance(part, Number) for _, part in self.parts):
            return None
        by_offset = {offset: part.value for offset, part in self.parts if part.width == 8}
        letters = []
        while len(letters) in by_offset:
            letters.append(by_offset[len(letters)])
        return bytes(letters).decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Module:
    """A whole module, with the hash of the text it was read from.

    unreadable  why a function is not among `functions`, by its name
    places      (function, block) -> file:line of its first instruction, where that is known
    lines       the hash of all of the text; `digest` leaves out where things stand in the source
    """

    functions: Mapping[str, Function]
    globals: Mapping[str, GlobalVariable]
    digest: str
    unreadable: Mapping[str, UnsupportedIr] = field(default_factory=dict)
    places: Mapping[tuple[str, str], str] = field(default_factory=dict)
    lines: str = ""
