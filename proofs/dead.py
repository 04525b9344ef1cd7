"""Blocks that no program reaches, by constants followed through the whole module.

What initialisation leaves in a variable that nothing writes afterwards is a constant, too: the
mode of a variant, a page source.  It asks no solver and looks at no heap; a pointer that is read
from memory is taken to stay out of the subject's own variables unless an address of theirs was
stored somewhere: no access out of bounds, which is what the claims on bounds say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from proofs.engine import Engine
from proofs.ir import POINTER_BITS, Function, Instruction, Label, Symbol
from proofs.literals import Literal
from proofs.meaning import result_of
from proofs.read_ir import UnsupportedIr
from proofs.ready import Ready, ready
from proofs.terms import number

Span = tuple[int, int]  # addresses, both ends included
_PASSING = frozenset({"freeze", "bitcast", "inttoptr", "ptrtoint", "addrspacecast", "select"})
_NO_ADDRESS = frozenset({"icmp", "load", "alloca", "extractvalue"})
_WRITING = ("llvm.memset", "llvm.memcpy", "llvm.memmove", "memset", "memcpy", "memmove")


@dataclass(frozen=True)
class Anything:
    """A value that is not known; among others it may be one of these addresses of variables."""

    spans: frozenset[Span] = frozenset()


Known = Literal | bool | Anything
UNKNOWN = Anything()


def dead_blocks(
    engine: Engine, entries: Iterable[str], held: Callable[[int, int], int | None]
) -> frozenset[tuple[str, str]]:
    """(function, block) of what is never reached, in the functions that are.

    entries  functions that anybody may call with any arguments
    held     (address, bytes) -> what initialisation left there, None where that is not plain
    """
    constants = _Constants(engine, held)
    constants.follow([*entries, *_address_taken(engine)])
    return frozenset(
        (name, block)
        for name in {name for name, _ in constants.reached}
        for block in engine.module.functions[name].blocks
        if (name, block) not in constants.reached
    )


def _address_taken(engine: Engine) -> set[str]:
    """The functions that may be called through a pointer."""
    module = engine.module
    told = {part.name for one in module.globals.values() for _, part in one.parts or ()
            if isinstance(part, Symbol)}  # fmt: skip
    for function in module.functions.values():
        for block in function.blocks.values():
            for instruction in block.instructions:
                told |= {each.name for each in instruction.operands if isinstance(each, Symbol)}
    return told & set(module.functions)


@dataclass
class _Constants:
    """Conditional constants, over all functions at once: what is known only ever becomes less.

    reached  blocks that are, as far as can be told
    written  addresses of variables that may be written
    """

    engine: Engine
    held: Callable[[int, int], int | None]
    reached: set[tuple[str, str]] = field(default_factory=set)
    written: set[Span] = field(default_factory=set)
    values: dict[tuple[str, str], Known] = field(default_factory=dict)
    returned: dict[str, Known] = field(default_factory=dict)
    edges: set[tuple[str, str, str]] = field(default_factory=set)
    changed: bool = False

    def follow(self, entries: Sequence[str]) -> None:
        """Goes over all that is reached until nothing is learnt any more."""
        functions = self.engine.module.functions
        blocks = {name: ready(functions[name], self.engine.address_of, POINTER_BITS)
                  for name in functions}  # fmt: skip
        for name in entries:
            if name in functions:
                self._enter(functions[name], [UNKNOWN] * len(functions[name].parameters))
        self._note_addresses_held()
        self.changed = True
        while self.changed:
            self.changed = False
            for name, label in list(self.reached):
                self._block(functions[name], label, blocks[name][label])

    def _note_addresses_held(self) -> None:
        """A variable whose address stands in memory from the start may be written through it."""
        wide = POINTER_BITS // 8
        for variable in self.engine.module.globals.values():
            start = self.engine.address_of(variable.name)
            for at in range(start, start + variable.size - wide + 1, wide):
                value = self.held(at, wide)
                if value:
                    self._give_away(number(value))

    # ---- what is known ----

    def _learn(self, table: dict, key: object, value: Known) -> None:
        before = table.get(key)
        now = value if before is None else self._both(before, value)
        if before is None or not _same(before, now):
            table[key], self.changed = now, True

    def _both(self, one: Known, other: Known) -> Known:
        if _same(one, other):
            return one
        return Anything(self._spans(one) | self._spans(other))

    def _spans(self, value: Known) -> frozenset[Span]:
        """The addresses of variables among what the value may be."""
        if isinstance(value, Anything):
            return value.spans
        if isinstance(value, bool):
            return frozenset()
        return frozenset({(value.value, value.value)} if self._owner(value.value) else ())

    def _owner(self, address: int) -> Span | None:
        """The variable, first and last address, that the address lies in or just behind."""
        variable, offset = self.engine.variable_at(address)
        if variable is None or offset > variable.size:
            return None
        return address - offset, address - offset + variable.size - 1

    def _whole(self, spans: Iterable[Span]) -> frozenset[Span]:
        return frozenset(filter(None, (self._owner(low) for low, _ in spans)))

    def _give_away(self, value: Known) -> None:
        """Its address stands in memory: anybody may write there."""
        self._note_written(self._whole(self._spans(value)), 1)

    def _note_written(self, spans: Iterable[Span], size: int) -> None:
        new = {(low, high + size - 1) for low, high in spans} - self.written
        self.changed |= bool(new)
        self.written |= new

    # ---- going over the code ----

    def _enter(self, function: Function, arguments: Sequence[Known]) -> None:
        for (name, _), value in zip(function.parameters, arguments, strict=True):
            self._learn(self.values, (function.name, name), value)
        self._reach(function.name, function.entry)

    def _reach(self, name: str, label: str) -> None:
        if (name, label) not in self.reached:
            self.reached.add((name, label))
            self.changed = True

    def _block(self, function: Function, label: str, block) -> None:
        name = function.name
        for source, pairs in block.phis.items():
            if (name, source, label) not in self.edges:
                continue
            for register, operand in pairs:
                value = self._value(name, operand)
                if value is not None:
                    self._learn(self.values, (name, register), value)
        for step in block.steps:
            operands = [self._value(name, each) for each in step.operands]
            if any(each is None for each in operands):
                return  # nothing has come here yet
            if step.opcode in ("br", "switch"):
                for target in _targets(step, operands):
                    self.edges.add((name, label, target))
                    self._reach(name, target)
                return
            self._step(name, step, operands)

    def _value(self, name: str, operand: object) -> object:
        """What is known of an operand; None as long as nothing has come there."""
        if operand.__class__ is str:
            return self.values.get((name, operand))
        plain = isinstance(operand, (bool, Literal, Label, Anything))
        return operand if plain else UNKNOWN

    def _step(self, name: str, step: Ready, operands: list) -> None:
        opcode, instruction = step.opcode, step.instruction
        if opcode == "ret":
            self._learn(self.returned, name, operands[0] if operands else UNKNOWN)
        elif opcode == "store":
            self._note_written(self._spans(operands[1]), instruction.detail.size)
            self._give_away(operands[0])
        elif opcode == "call":
            value = self._call(instruction, operands)
            if value is not None and step.result:
                self._learn(self.values, (name, step.result), value)
        elif step.result:
            self._learn(self.values, (name, step.result), self._computed(step, operands))

    def _call(self, instruction: Instruction, operands: list) -> Known | None:
        callee = self.engine.module.functions.get(instruction.detail)
        if callee is not None and instruction.detail not in self.engine.hooks:
            self._enter(callee, operands)
            return self.returned.get(callee.name)
        if str(instruction.detail).startswith(_WRITING):
            self._note_written(self._whole(self._spans(operands[0])), 1)
        elif not str(instruction.detail).startswith("llvm."):
            for each in operands:
                self._give_away(each)
        return UNKNOWN

    def _computed(self, step: Ready, operands: list) -> Known:
        if step.opcode == "load" and isinstance(operands[0], Literal):
            return self._loaded(operands[0].value, step.instruction)
        if not any(isinstance(each, Anything) for each in operands):
            value = _plainly(step, operands)
            if value is not None:
                return value
        if step.opcode in _NO_ADDRESS or step.instruction.width == 1:
            return UNKNOWN
        spans = frozenset().union(*(self._spans(each) for each in operands))
        if step.opcode in _PASSING:
            return Anything(spans)
        steps = step.instruction.detail
        if step.opcode == "getelementptr" and not any(steps.strides):
            moved = {(low + steps.offset, high + steps.offset) for low, high in spans}
            return Anything(frozenset(moved))
        return Anything(self._whole(spans))

    def _loaded(self, address: int, instruction: Instruction) -> Known:
        size = instruction.detail.size
        if any(low < address + size and address <= high for low, high in self.written):
            return UNKNOWN
        value = self.held(address, size)
        if value is None:
            return UNKNOWN
        return bool(value & 1) if instruction.width == 1 else number(value, instruction.width)


def _same(one: Known, other: Known) -> bool:
    if isinstance(one, Literal) and isinstance(other, Literal):
        return (one.value, one.width) == (other.value, other.width)
    if isinstance(one, Anything) and isinstance(other, Anything):
        return one.spans == other.spans
    return isinstance(one, bool) and isinstance(other, bool) and one is other


def _plainly(step: Ready, operands: list) -> Literal | bool | None:
    """The result of plain operands; None where that is not for plain arithmetic to say."""
    if step.short and all(isinstance(each, Literal) for each in operands):
        return step.short(operands)
    try:
        value = result_of(step.instruction, operands)
    except UnsupportedIr:
        return None
    return value if isinstance(value, (bool, Literal)) else None


def _targets(step: Ready, operands: list) -> list[str]:
    """The blocks that a branch may lead to."""
    if step.opcode == "br":
        if len(operands) == 1:
            return [operands[0].name]
        condition, no, yes = operands
        if isinstance(condition, bool):
            return [(yes if condition else no).name]
        return [no.name, yes.name]
    value, default = operands[0], operands[1].name
    cases = step.instruction.detail
    if isinstance(value, Literal):
        return [dict(reversed(cases)).get(value.value, default)]
    return [default, *(label for _, label in cases)]
