"""Plain frozen records of an LLVM module: what the engine executes.

They know neither llvmlite nor z3; read_ir.py makes them, engine.py runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proofs.target import TARGET

POINTER_BITS = TARGET.bits


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


Operand = Variable | Number | Undefined | Symbol | Label


@dataclass(frozen=True, slots=True)
class Access:
    """How a load or store touches memory: bytes, and the alignment the compiler relies on."""

    size: int
    alignment: int


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
    the index of extractvalue, ((value, label), ...) of switch, the Access of alloca.
    """

    opcode: str
    result: str
    width: int
    operands: tuple[Operand, ...]
    detail: Detail
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A basic block; `trap` says that it does nothing but report undefined behaviour."""

    name: str
    instructions: tuple[Instruction, ...]
    trap: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A defined function; parameters as (name, bits)."""

    name: str
    parameters: tuple[tuple[str, int], ...]
    blocks: Mapping[str, Block]
    entry: str


@dataclass(frozen=True, slots=True)
class GlobalVariable:
    """A global: its size in bytes, and what it holds at first.

    parts  (offset, value) of all that is not zero; None where another module defines it, or
           where its text is not understood
    """

    name: str
    size: int
    constant: bool
    parts: tuple[tuple[int, Number | Symbol], ...] | None

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
    """

    functions: Mapping[str, Function]
    globals: Mapping[str, GlobalVariable]
    digest: str
    unreadable: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[tuple[str, str], str] = field(default_factory=dict)
