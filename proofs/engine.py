"""Executes LLVM IR on symbolic values: a path goes in, the paths it splits into come out.

It follows every feasible branch and forgets none; what must not happen becomes an obligation of
the path.  It knows nothing of allocators: callees it has no body for are hooks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import z3

from proofs.access import put, taken
from proofs.intrinsics import Intrinsics, is_intrinsic
from proofs.ir import (
    POINTER_BITS,
    Function,
    GlobalVariable,
    Instruction,
    Module,
    Undefined,
)
from proofs.literals import Literal
from proofs.logic import Truth, equal, is_aligned, less, negate, plain
from proofs.meaning import Value, result_of
from proofs.memory import Copy, Memory, Word
from proofs.path import Path, PathAsker, Reasoning, Touch
from proofs.read_ir import UnsupportedIr
from proofs.ready import Ready, ReadyBlock, constant, ready
from proofs.target import TARGET
from proofs.terms import constant_of, number, value_range

Outcome = tuple[Path, Value | None]
Hook = Callable[["Engine", Path, Sequence[z3.BitVecRef]], list[Outcome]]
Guard = Callable[["Engine", Path, z3.BitVecRef, z3.BitVecRef, bool], Truth]

# Their result is worth a name: later terms stay sums of variables.
_NAMED = frozenset({"select", "and", "or", "udiv", "urem", "lshr", "shl", "mul", "sub", "add"})
_LEAVING = frozenset({"br", "switch", "unreachable"})
WILD = TARGET.wild  # beyond every address that a sound program can form
_STACK = sum(TARGET.stack) // 2
SYMBOLS = TARGET.symbols
_PAGE = 0x1000


class LoopLimit(Exception):
    """A feasible path went round a loop too often: nothing can be said beyond it."""


class _NoState(Exception):
    """Nothing is left of a path: what follows on it is followed by nobody."""


@dataclass(slots=True)
class _Frame:
    """Where a path stands inside one function."""

    path: Path
    values: dict[str, Value]
    block: str
    previous: str = ""
    position: int = 0
    visits: dict[str, int] = field(default_factory=dict)
    counted: bool = True

    def go(self, target: str, counted: bool) -> bool:
        """On to the next block."""
        self.previous, self.block, self.position, self.counted = self.block, target, 0, counted
        return True

    def beside(self, path: Path, target: str, counted: bool = False) -> _Frame:
        """A frame of its own, on another path, in the next block."""
        return _Frame(path, dict(self.values), target, self.block, 0, self.visits, counted)


@dataclass
class Engine:
    """The executor of one module.

    hooks     callee -> what to do instead of executing it
    guard     (engine, path, address, size, writes) -> when the access is allowed
    rounds    how often a path may enter one block of one activation on a condition it can choose
    concrete  functions whose results are taken one by one, each on a path of its own
    covered   (function, block) pairs executed so far, by a path that has a state
    ended     paths that ended inside a call: undefined behaviour, abort
    """

    module: Module
    reasoning: Reasoning
    guard: Guard
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    rounds: int = 70
    concrete: frozenset[str] = frozenset()
    covered: set[tuple[str, str]] = field(default_factory=set)
    ended: list[Path] = field(default_factory=list)
    steps: int = 0
    _stack: int = _STACK

    def __post_init__(self) -> None:
        self._symbols: dict[str, int] = {}
        self._ready: dict[str, dict[str, ReadyBlock]] = {}
        at = SYMBOLS
        for name in sorted({*self.module.functions, *self.module.globals, *self.hooks}):
            self._symbols[name] = at
            variable = self.module.globals.get(name)
            at += _up(variable.size if variable else 1, _PAGE) + _PAGE
        self._named_at = {address: name for name, address in self._symbols.items()}
        self._starts = sorted(self._named_at)

    def loaded(self, memory: Memory) -> Memory:
        """The memory with every global variable as the program starts with it."""
        for variable in self.module.globals.values():
            for offset, part in variable.parts or ():
                value = constant(part, self.address_of, POINTER_BITS)
                at = number(self.address_of(variable.name) + offset)
                memory = memory.after(Word(at, value))
        return memory

    def name_at(self, address: z3.BitVecRef) -> str | None:
        """The function or variable that starts there, None if none does."""
        return self._named_at.get(constant_of(address))

    def variable_at(self, address: int) -> tuple[GlobalVariable | None, int]:
        """The variable that begins at or last below the address, and how far into it that is."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None, 0
        start = self._starts[index]
        return self.module.globals.get(self._named_at[start]), address - start

    def call(self, path: Path, name: str, arguments: Sequence[Value]) -> list[Outcome]:
        """Every way the call can end: paths with the value returned (None for void)."""
        if name in self.hooks:
            return self.hooks[name](self, path, arguments)
        function = self.module.functions.get(name)
        if function is None:
            why = f"unsupported call: {name} has no model here"
            raise self.module.unreadable.get(name) or UnsupportedIr(why)
        frames = [_Frame(path, self._received(path, function, arguments), function.entry)]
        outcomes: list[Outcome] = []
        blocks = self._blocks(function)
        while frames:
            outcome = self._advance(function, blocks, frames.pop(), frames)
            if outcome is not None:
                outcomes.append(outcome)
        if name in self.concrete:
            return [each for outcome in outcomes for each in self._one_by_one(*outcome)]
        return outcomes

    def _received(self, path: Path, function: Function, arguments) -> dict[str, Value]:
        """The parameters by name: copies of what is handed over by value, nothing of a `...`."""
        names = [parameter for parameter, _ in function.parameters]
        if len(arguments) < len(names):
            raise UnsupportedIr(f"unsupported call: {function.name} with too few arguments")
        received = dict(zip(names, arguments[: len(names)], strict=True))
        for name, size in zip(names, function.copied, strict=False):
            if size:
                copy = self._place(size)
                path.write(Copy(copy, number(size), received[name], path.memory))
                received[name] = copy
        return received

    def _blocks(self, function: Function) -> dict[str, ReadyBlock]:
        known = self._ready.get(function.name)
        if known is None:
            known = self._ready[function.name] = ready(function, self.address_of, POINTER_BITS)
        return known

    def _one_by_one(self, path: Path, value: z3.BitVecRef) -> Iterator[Outcome]:
        """A path for each value that the result can have."""
        rest: Path | None = path
        for _ in range(self.rounds):
            state = self.reasoning.model(rest)
            if state is None:
                return
            single = state.value(value)
            sides = dict(self.reasoning.split(rest, equal(value, single)))
            yield sides[True], number(single, value.size())
            rest = sides.get(False)
            if rest is None:
                return
        raise LoopLimit(f"a result has more than {self.rounds} values")

    def load(self, path: Path, address: z3.BitVecRef, size: int) -> z3.BitVecRef:
        """What memory holds; asks no permission."""
        return path.memory.load(address, size, PathAsker(self.reasoning, path))

    def address_of(self, name: str) -> int:
        """Where a function, a global or a hook stands."""
        return self._symbols[name]

    def end(self, path: Path, family: str, what: str, touch: Touch | None = None) -> None:
        """The path ends here, inside a call, where no path should come."""
        path.owe(family, what, False, touch)
        self.ended.append(path)

    def _advance(self, function: Function, blocks, frame: _Frame, frames) -> Outcome | None:
        """Runs a frame until it returns, ends, or splits; what it splits into is queued."""
        while True:
            if frame.position == 0:
                self._enter(function, blocks[frame.block], frame)
            steps = blocks[frame.block].steps
            while frame.position < len(steps):
                step = steps[frame.position]
                frame.position += 1
                self.steps += 1
                values = frame.values
                operands = [
                    values[each] if each.__class__ is str else each for each in step.operands
                ]
                if step.short is not None:
                    for each in operands:
                        if each.__class__ is not Literal:
                            break
                    else:
                        result = step.short(operands)
                        if result is not None:
                            values[step.result] = result
                            continue
                if step.undefined:
                    operands = [self._some(each) for each in operands]
                opcode = step.opcode
                if opcode == "ret":
                    return frame.path, operands[0] if operands else None
                if opcode in _LEAVING:
                    if not self._leave(function, frame, step.instruction, operands, frames):
                        return None
                    break
                try:
                    if opcode != "call":
                        self._simple(function, frame, step, operands)
                    elif not self._call(function, frame, step.instruction, operands, frames):
                        return None
                except _NoState:
                    return None
                except UnsupportedIr as error:
                    raise error.at(function.name, step.instruction.place) from None

    def _enter(self, function: Function, block: ReadyBlock, frame: _Frame) -> None:
        """Counts the visit and gives the block's phis their values, all at once."""
        self.covered.add((function.name, frame.block))
        self.reasoning.solver.spend()
        if frame.counted:
            visits = frame.visits.get(frame.block, 0) + 1
            frame.visits = {**frame.visits, frame.block: visits}
        if frame.visits.get(frame.block, 0) > self.rounds:
            raise LoopLimit(f"{function.name} goes round a loop more than {self.rounds} times")
        if block.phis:
            values, pairs = frame.values, block.phis[frame.previous]
            incoming = [
                values[each] if each.__class__ is str else self._some(each) for _, each in pairs
            ]
            for (name, _), value in zip(pairs, incoming, strict=True):
                values[name] = value

    def _leave(self, function, frame: _Frame, instruction: Instruction, operands, frames) -> bool:
        """Ends a block; True when the frame itself goes on, in its next one."""
        opcode = instruction.opcode
        if opcode == "unreachable":
            self.end(frame.path, "no_undefined", f"{function.name} reaches unreachable code")
            return False
        if opcode == "switch":
            return self._switch(frame, instruction, operands, frames)
        if len(operands) == 1:
            return frame.go(operands[0].name, counted=False)
        # llvmlite's order: condition, target when false, target when true.
        condition, no, yes = operands
        for target, safe in ((no, condition), (yes, condition)):
            if function.blocks[target.name].trap:
                what = f"undefined behaviour in {function.name}{instruction.there}"
                frame.path.owe("no_undefined", what, safe if target is no else negate(safe))
                return frame.go((yes if target is no else no).name, counted=False)
        if condition.__class__ is bool:
            return frame.go((yes if condition else no).name, counted=False)
        # A loop that runs so often whatever the input may go on; one that depends on it is counted.
        counted = plain(condition) is None
        for chosen, path in self.reasoning.split(frame.path, condition):
            frames.append(frame.beside(path, (yes if chosen else no).name, counted))
        return False

    def _switch(self, frame: _Frame, instruction: Instruction, operands, frames) -> bool:
        value, default = operands[0], operands[1].name
        if value.__class__ is Literal:
            target = dict(reversed(instruction.detail)).get(value.value, default)
            return frame.go(target, counted=False)
        rest: Path | None = frame.path
        for case, label in instruction.detail:
            sides = dict(self.reasoning.split(rest, equal(value, case)))
            if True in sides:
                frames.append(frame.beside(sides[True], label))
            rest = sides.get(False)
            if rest is None:
                return False
        frames.append(frame.beside(rest, default))
        return False

    def _call(self, function, frame: _Frame, instruction: Instruction, arguments, frames) -> bool:
        """Calls; True when the frame itself goes on, False when its successors are queued."""
        name = instruction.detail
        if name is None:
            name = self._pointed_to(arguments.pop())
        outcomes = None
        if is_intrinsic(name):
            outcomes = Intrinsics(self, frame.path, function.name, instruction.there).call(
                name, arguments
            )
        if outcomes is None:
            outcomes = self.call(frame.path, name, arguments)
        if len(outcomes) == 1 and outcomes[0][0] is frame.path:
            frame.values[instruction.result] = outcomes[0][1]
            return True
        for path, value in outcomes:
            values = {**frame.values, instruction.result: value}
            frames.append(replace(frame, path=path, values=values))
        return False

    def _pointed_to(self, pointer: z3.BitVecRef) -> str:
        name = self._named_at.get(constant_of(pointer))
        if name is None:
            raise UnsupportedIr(f"unsupported call through a pointer: {pointer}")
        return name

    def _simple(self, function, frame: _Frame, step: Ready, operands: list) -> None:
        """An instruction that neither leaves its block nor calls."""
        opcode, path, instruction = step.opcode, frame.path, step.instruction
        if opcode == "load":
            self._permit(function, path, operands[0], step, writes=False)
            asker = PathAsker(self.reasoning, path)
            result = taken(path.memory, operands[0], instruction, asker)
        elif opcode == "store":
            self._permit(function, path, operands[1], step, writes=True)
            for word in put(*operands, instruction.detail):
                path.write(word)
            return
        elif opcode == "alloca":
            result = self._place(instruction.detail.size)
        else:
            self._check_division(function, path, instruction, operands)
            result = result_of(instruction, operands)
        wide = instruction.width == POINTER_BITS and result.__class__ is not Literal
        if wide and opcode in _NAMED:
            result = self.reasoning.named(path, result, function.name)
        frame.values[step.result] = result

    def _permit(self, function, path: Path, address, step: Ready, writes: bool) -> None:
        access = step.instruction.detail
        misaligned, outside = step.places
        if access.alignment > 1:
            if address.__class__ is Literal and address.value % access.alignment == 0:
                path.meet(misaligned)
            else:
                path.owe(*misaligned, is_aligned(address, access.alignment))
        allowed = self.guard(self, path, address, number(access.size), writes)
        if allowed is True:
            path.meet(outside)
            return
        touch = Touch(address, number(access.size), writes, path.scene)
        if value_range(address)[1] >= WILD:
            allowed = self._tamed(path, allowed, outside[1], touch)
        path.owe(*outside, allowed, touch)

    def _tamed(self, path: Path, allowed: Truth, what: str, touch: Touch) -> Truth:
        """An address that may be anything: the path goes on only where the access is allowed.

        To follow a wild pointer on would mean to follow it everywhere.
        """
        wild = path.fork()
        if self.reasoning.assume(wild, negate(allowed)):
            self.end(wild, "bounds", what, touch)
            if not self.reasoning.assume(path, allowed):
                raise _NoState
        return True

    def _check_division(self, function, path: Path, instruction: Instruction, values) -> None:
        opcode = instruction.opcode
        if opcode in ("udiv", "urem", "sdiv", "srem"):
            nonzero = negate(equal(values[1], 0))
            path.owe("no_undefined", f"{function.name} divides by zero{instruction.there}", nonzero)
        if opcode in ("shl", "lshr", "ashr"):
            inside = less(values[1], values[1].size())
            path.owe("no_undefined", f"{function.name} shifts too far{instruction.there}", inside)

    def _place(self, size: int) -> z3.BitVecRef:
        """A fresh local object, never at an address used before."""
        self._stack -= -(-size // 16) * 16 + 16
        return number(self._stack)

    def _some(self, value: object) -> Value:
        """A value; in the place of an undefined one, any value at all."""
        if isinstance(value, tuple):
            return tuple(self._some(part) for part in value)
        if isinstance(value, Undefined):
            return self.reasoning.fresh("undefined", value.width)
        return value


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
