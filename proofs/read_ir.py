"""Reads LLVM IR text into the records of ir.py, through llvmlite.

llvmlite hides predicates, element types and alignments; those few are parsed from the text of
the instruction.  It executes nothing.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import llvmlite.binding as llvm

from proofs.initial import parts_of
from proofs.ir import (
    POINTER_BITS,
    Access,
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
    UnsupportedIr,
    Variable,
)
from proofs.layout_ir import Layout, split_top_level
from proofs.lines_ir import Lines, places, shown, without_lines, without_notes
from proofs.operands_ir import address_steps, typed

_HOST = "x86_64-unknown-linux-gnu"
_CONTEXTS: list[llvm.ContextRef] = []
TRAPS = ("llvm.ubsantrap", "llvm.trap", "llvm.debugtrap")


def read_ir(text: str, promote: bool = True) -> Module:
    """The module in `text`, its locals promoted to registers if wanted; raises UnsupportedIr."""
    parsed = _named(text, promote)
    whole = str(parsed)
    _check_pointers(whole)
    layout = Layout.of(whole)
    functions: dict[str, Function] = {}
    unreadable: dict[str, UnsupportedIr] = {}
    lines = places(whole)
    for function in parsed.functions:
        if not function.is_declaration:
            try:
                functions[function.name] = _read_function(function, layout, lines[function.name])
            except UnsupportedIr as error:
                unreadable[function.name] = error.at(function.name, "")
    variables = {
        variable.name: _read_global(variable, layout) for variable in parsed.global_variables
    }
    digest, full = (
        hashlib.sha256(part.encode()).hexdigest() for part in (without_lines(text), text)
    )
    return Module(functions, variables, digest, unreadable, Lines(whole).of_blocks(whole), full)


def own_context() -> llvm.ContextRef:
    """A context that nothing else is read in, kept to the end of the process.

    llvmlite disposes of a context and of what lives in it in any order, which may crash.
    """
    _CONTEXTS.append(llvm.create_context())
    return _CONTEXTS[-1]


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
    module = llvm.parse_assembly(text, own_context())
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
    constant = found[1] == "constant"
    try:
        size = layout.size(kind)
    except UnsupportedIr:
        return GlobalVariable(variable.name, 1, constant, None)
    if re.search(r"= (?:[\w ]*\b)?external\b", text):
        return GlobalVariable(variable.name, size, constant, None)
    value = ", ".join(
        part for part in split_top_level(rest) if not re.match(r"align \d|section |comdat|!", part)
    )
    try:
        parts = tuple(parts_of(kind, value, layout))
    except UnsupportedIr:
        parts = None
    return GlobalVariable(variable.name, size, constant, parts)


# What has been read before, by its text, the types in it and its lines: modules made of one subject
# in different wrappers have most functions in common, and reading is slow.
_KNOWN: dict[tuple, Function] = {}


def _read_function(function: llvm.ValueRef, layout: Layout, lines: list[str]) -> Function:
    key = (layout, without_notes(str(function)), tuple(lines))
    if key not in _KNOWN:
        _KNOWN[key] = _read_anew(function, layout, lines)
    return _KNOWN[key]


def _read_anew(function: llvm.ValueRef, layout: Layout, lines: list[str]) -> Function:
    blocks, left = {}, iter(lines)
    for block in function.blocks:
        instructions = tuple(
            _placed(instruction, layout, next(left), function.name)
            for instruction in block.instructions
        )
        first = instructions[0]
        trap = first.opcode == "unreachable" or (
            first.opcode == "call" and str(first.detail).startswith(TRAPS)
        )
        blocks[block.name] = Block(block.name, instructions, trap)
    parameters = tuple(
        (argument.name, layout.bits(str(argument.type))) for argument in function.arguments
    )
    copied = tuple(_copied(argument.attributes, layout) for argument in function.arguments)
    return Function(function.name, parameters, blocks, next(iter(blocks)), copied)


def _copied(attributes, layout: Layout) -> int:
    """Bytes that a parameter is a copy of, as its attributes say."""
    told = [re.match(r"byval\((.*)\)", text.decode()) for text in attributes]
    return next((layout.size(each[1]) for each in told if each), 0)


def _placed(value: llvm.ValueRef, layout: Layout, place: str, function: str) -> Instruction:
    """The instruction, or what is wrong with it, with its line."""
    text = str(value).strip()
    try:
        return replace(_read(value, text, layout), place=place)
    except UnsupportedIr as error:
        told = shown(str(error))
        if shown(text) not in told:
            told = f"{told} in: {shown(text)}"
        raise UnsupportedIr(told).at(function, place) from None


def _read(instruction: llvm.ValueRef, text: str, layout: Layout) -> Instruction:
    if " asm " in text or re.match(
        r"(%[\w.]+ = )?(atomicrmw|cmpxchg|fence|f(add|sub|mul|div)) ", text
    ):
        raise UnsupportedIr(f"unsupported instruction: {text}")
    for value in (instruction, *instruction.operands):
        if str(value.type).startswith(("<", "x86_fp80")):
            raise UnsupportedIr(f"unsupported type: {value.type}")
    return _read_known(instruction, text, layout)


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
    if kind in ("function", "global_variable"):
        return Symbol(operand.name)
    if kind == "global_alias":
        return typed(
            re.search(r", (ptr [^,]*?(?:\(.*\))?)(?:, partition|$)", str(operand).strip())[1],
            layout,
        )
    return typed(str(operand).strip(), layout)


def _detail(opcode: str, instruction, text: str, operands, layout: Layout) -> Detail:
    if opcode == "icmp":
        return re.search(r"icmp (?:samesign )?(\w+)", text)[1]
    if opcode == "phi":
        return tuple(block.name for block in instruction.incoming_blocks)
    if opcode == "getelementptr":
        body = re.search(r"getelementptr (?:(?:inbounds|nuw|nusw) )*(.*)", text)[1]
        return address_steps(split_top_level(body)[0], operands[1:], layout)
    if opcode in ("load", "store"):
        return _access(opcode, instruction, text, layout)
    if opcode == "alloca":
        kind = re.search(r"alloca (.*?), align (\d+)", text)
        if not kind or not isinstance(operands[0], Number):
            raise UnsupportedIr(f"unsupported instruction: {text}")
        element = split_top_level(kind[1])[0]
        return Access(operands[0].value * layout.size(element), int(kind[2]))
    if opcode == "switch":
        cases = re.findall(r"i(\d+) (-?\d+), label %([\w.]+)", text.partition("[")[2])
        return tuple((int(value) % (1 << int(bits)), name) for bits, value, name in cases)
    if opcode in ("extractvalue", "insertvalue"):
        indexes = re.search(r"((?:, \d+)+)(?:, !.*)?$", text)[1].split(", ")[1:]
        if len(indexes) > 1:
            raise UnsupportedIr(f"unsupported instruction: {text}")
        return int(indexes[0])
    return None


def _access(opcode: str, instruction, text: str, layout: Layout) -> Access:
    if " atomic " in text:
        raise UnsupportedIr(f"unsupported instruction: {text}")
    touched = instruction.type if opcode == "load" else next(iter(instruction.operands)).type
    touched = str(touched).partition(" = type ")[0]
    fields = tuple((offset, layout.bits(kind)) for offset, kind in layout.fields(touched))
    if not all(width for _, width in fields):
        raise UnsupportedIr(f"unsupported instruction: {text}")
    alignment = int(re.search(r", align (\d+)", text)[1])
    return Access(layout.size(touched), alignment, fields)
