"""Reads LLVM IR text into the records of ir.py, through llvmlite.

llvmlite hides predicates, element types and alignments; those few are parsed from the text of
the instruction.  It executes nothing.
"""

from __future__ import annotations

import hashlib
import re

import llvmlite.binding as llvm

from proofs.initial import NoInitialValue, parts_of
from proofs.ir import (
    POINTER_BITS,
    Access,
    AddressSteps,
    Block,
    Detail,
    Function,
    GlobalVariable,
    Instruction,
    Label,
    Module,
    Number,
    Operand,
    Symbol,
    Undefined,
    Variable,
)
from proofs.layout_ir import Layout, split_top_level
from proofs.lines_ir import Lines, placed, without_lines, without_notes

_HOST = "x86_64-unknown-linux-gnu"
TRAPS = ("llvm.ubsantrap", "llvm.trap")


class UnsupportedIr(Exception):
    """An instruction or operand that the engine has no meaning for: one line that shows it."""


def read_ir(text: str, promote: bool = True) -> Module:
    """The module in `text`, its locals promoted to registers if wanted; raises UnsupportedIr."""
    parsed = _named(text, promote)
    whole = str(parsed)
    _check_pointers(whole)
    layout = Layout.of(whole)
    functions: dict[str, Function] = {}
    unreadable: dict[str, str] = {}
    for function in parsed.functions:
        if not function.is_declaration:
            try:
                functions[function.name] = _read_function(function, layout)
            except UnsupportedIr as error:
                unreadable[function.name] = (
                    f"{function.name}: {placed(str(error), function.name, whole)}"
                )
    variables = {
        variable.name: _read_global(variable, layout) for variable in parsed.global_variables
    }
    digest = hashlib.sha256(without_lines(text).encode()).hexdigest()
    return Module(functions, variables, digest, unreadable, Lines(whole).of_blocks(whole))


def _check_pointers(text: str) -> None:
    """A module of another width than this process's is not read."""
    told = re.search(r'^target datalayout = "(.*)"', text, re.MULTILINE)
    wide = re.search(r"-p:(\d+)", told[1]) if told else None
    bits = int(wide[1]) if wide else 64
    if told and bits != POINTER_BITS:
        raise UnsupportedIr(
            f"the code has pointers of {bits} bits, read for {POINTER_BITS}: run with --bits {bits}"
        )


def _named(text: str, promote: bool) -> llvm.ModuleRef:
    """Parsed, every value and block named; promoted: locals in registers, trivial blocks merged."""
    llvm.initialize_all_targets()
    module = llvm.parse_assembly(text, llvm.create_context())
    target = llvm.Target.from_triple(module.triple or _HOST).create_target_machine()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=0))
    passes = llvm.create_new_module_pass_manager()
    if promote:
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
    passes.add_instruction_namer_pass()
    passes.run(module, builder)
    module.verify()
    return module


def _read_global(variable: llvm.ValueRef, layout: Layout) -> GlobalVariable:
    text = str(variable).strip()
    found = re.search(r"\b(global|constant) (.*)$", text)
    kind, rest = layout.leading_type(found[2])
    size, constant = layout.size(kind), found[1] == "constant"
    if re.search(r"= (?:[\w ]*\b)?external\b", text):
        return GlobalVariable(variable.name, size, constant, None)
    value = ", ".join(
        part for part in split_top_level(rest) if not re.match(r"align \d|section |comdat|!", part)
    )
    try:
        parts = tuple(parts_of(kind, value, layout))
    except NoInitialValue:
        parts = None
    return GlobalVariable(variable.name, size, constant, parts)


# What has been read before, by its text and the types in it: modules made of one subject in
# different wrappers have most functions in common, and reading is slow.
_KNOWN: dict[tuple[Layout, str], Function] = {}


def _read_function(function: llvm.ValueRef, layout: Layout) -> Function:
    key = (layout, without_notes(str(function)))
    if key not in _KNOWN:
        _KNOWN[key] = _read_anew(function, layout)
    return _KNOWN[key]


def _read_anew(function: llvm.ValueRef, layout: Layout) -> Function:
    blocks = {}
    for block in function.blocks:
        instructions = tuple(_read(instruction, layout) for instruction in block.instructions)
        first = instructions[0]
        trap = first.opcode == "unreachable" or (
            first.opcode == "call" and str(first.detail).startswith(TRAPS)
        )
        blocks[block.name] = Block(block.name, instructions, trap)
    parameters = tuple(
        (argument.name, layout.bits(str(argument.type))) for argument in function.arguments
    )
    return Function(function.name, parameters, blocks, next(iter(blocks)))


def _read(instruction: llvm.ValueRef, layout: Layout) -> Instruction:
    text = str(instruction).strip()
    if " asm " in text or re.match(
        r"(%[\w.]+ = )?(atomicrmw|cmpxchg|fence|f(add|sub|mul|div)) ", text
    ):
        raise UnsupportedIr(f"unsupported instruction: {text}")
    try:
        return _read_known(instruction, text, layout)
    except UnsupportedIr as error:
        told = str(error)
        raise UnsupportedIr(told if text in told else f"{told} in: {text}") from None


def _read_known(instruction: llvm.ValueRef, text: str, layout: Layout) -> Instruction:
    opcode = instruction.opcode
    raw = list(instruction.operands)
    if opcode == "call":
        return _read_call(instruction, raw, text, layout)
    if opcode == "switch":
        raw = raw[:2]
    operands = tuple(_operand(operand, layout) for operand in raw)
    detail = _detail(opcode, instruction, text, operands, layout)
    width = layout.bits(str(instruction.type))
    return Instruction(opcode, instruction.name, width, operands, detail, text)


def _read_call(instruction, raw, text: str, layout: Layout) -> Instruction:
    callee = raw[-1]
    named = callee.name if callee.value_kind.name == "function" else None
    kept = raw[:-1] if named else raw
    kept = [operand for operand in kept if str(operand.type) != "metadata"]
    operands = tuple(_operand(operand, layout) for operand in kept)
    width = layout.bits(str(instruction.type))
    return Instruction("call", instruction.name, width, operands, named, text)


def _operand(operand: llvm.ValueRef, layout: Layout) -> Operand:
    kind, of_type = operand.value_kind.name, str(operand.type)
    if kind in ("argument", "instruction"):
        return Variable(operand.name)
    if of_type == "label":
        return Label(operand.name)
    if kind in ("function", "global_variable", "global_alias"):
        return Symbol(operand.name)
    text = str(operand).strip()
    return _constant(text, of_type, layout)


def _constant(text: str, of_type: str, layout: Layout) -> Operand:
    word, width = text.split()[-1], layout.bits(of_type)
    if word in ("undef", "poison"):
        return Undefined(width)
    if width and word in ("null", "zeroinitializer", "false"):
        return Number(0, width)
    if width and word == "true":
        return Number(1, 1)
    if width and re.fullmatch(r"-?\d+", word):
        return Number(int(word) % (1 << width), width)
    address = re.search(r"inttoptr \(i\d+ (-?\d+) to ptr\)", text)
    if address:
        return Number(int(address[1]) % (1 << POINTER_BITS), POINTER_BITS)
    number_of = re.fullmatch(r"i\d+ ptrtoint \(ptr @([\w.]+) to i\d+\)", text)
    if number_of:
        return Symbol(number_of[1])
    inside = re.search(r"getelementptr [\w ]*\(i8, ptr @([\w.]+), i\d+ (-?\d+)\)", text)
    if inside:
        return Symbol(inside[1], int(inside[2]))
    raise UnsupportedIr(f"unsupported operand: {text}")


def _detail(opcode: str, instruction, text: str, operands, layout: Layout) -> Detail:
    if opcode == "icmp":
        return re.search(r"icmp (?:samesign )?(\w+)", text)[1]
    if opcode == "phi":
        return tuple(block.name for block in instruction.incoming_blocks)
    if opcode == "getelementptr":
        return _address_steps(text, operands, layout)
    if opcode in ("load", "store"):
        return _access(opcode, instruction, text, layout)
    if opcode == "alloca":
        kind = re.search(r"alloca (.*?), align (\d+)", text)
        if not kind:
            raise UnsupportedIr(f"unsupported instruction: {text}")
        return Access(layout.size(kind[1]), int(kind[2]))
    if opcode == "switch":
        cases = re.findall(r"i(\d+) (-?\d+), label %([\w.]+)", text.partition("[")[2])
        return tuple((int(value) % (1 << int(bits)), name) for bits, value, name in cases)
    if opcode == "extractvalue":
        return (
            int(text.rpartition(",")[2].split("!")[0])
            if "!" not in text
            else int(re.search(r", (\d+), !", text)[1])
        )
    return None


def _access(opcode: str, instruction, text: str, layout: Layout) -> Access:
    if " atomic " in text:
        raise UnsupportedIr(f"unsupported instruction: {text}")
    touched = instruction.type if opcode == "load" else next(iter(instruction.operands)).type
    return Access(layout.size(str(touched)), int(re.search(r", align (\d+)", text)[1]))


def _address_steps(text: str, operands, layout: Layout) -> AddressSteps:
    body = re.search(r"getelementptr (?:(?:inbounds|nuw|nusw) )*(.*)", text)[1]
    element = split_top_level(body)[0]
    offset, strides = 0, []
    for position, index in enumerate(operands[1:]):
        if position == 0:
            stride = layout.size(element)
        elif element.startswith("["):
            element = layout.element(element)
            stride = layout.size(element)
        else:
            start, element = layout.field(element, index.value)
            offset, stride = offset + start, 0
        strides.append(stride)
    return AddressSteps(offset, tuple(strides))
