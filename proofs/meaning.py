"""What each LLVM instruction computes, as z3 terms; nothing here branches or touches memory.

An i1 is a truth value, any other integer and every pointer a bit-vector in its normal form.
Arithmetic wraps, as the machine's does: overflow that C forbids shows as a trap in the raw IR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import z3

from proofs.constants import signed
from proofs.ir import AddressSteps, Instruction
from proofs.lines_ir import shown
from proofs.logic import Truth, agree, compare, equal, every, negate, plain, some
from proofs.read_ir import UnsupportedIr
from proofs.terms import constant_of, low_bits, number, simplify, value_range, width_of

Value = z3.BitVecRef | Truth | tuple


def result_of(instruction: Instruction, values: Sequence[Value]) -> Value:
    """The value of an instruction without side effects; raises UnsupportedIr."""
    opcode = instruction.opcode
    if opcode == "icmp":
        return _compared(instruction.detail, *values)
    if opcode == "select":
        return _selected(*values)
    if opcode == "getelementptr":
        return _address(instruction.detail, values)
    if opcode == "extractvalue":
        return values[0][instruction.detail]
    if opcode == "insertvalue":
        index = instruction.detail
        return (*values[0][:index], values[1], *values[0][index + 1 :])
    if instruction.width == 1 and opcode in _LOGICAL:
        return _LOGICAL[opcode](*values)
    if opcode in _BINARY:
        return simplify(_BINARY[opcode](*values))
    if opcode in _SHAPING:
        return _shaped(opcode, values[0], instruction.width)
    raise UnsupportedIr(f"unsupported instruction: {shown(instruction.text)}")


def is_truth(value: Value) -> bool:
    """Whether the value is an i1."""
    return isinstance(value, bool) or z3.is_bool(value)


def as_bits(value: Value, width: int) -> z3.BitVecRef:
    """A truth value as a number of `width` bits; numbers pass."""
    if not is_truth(value):
        return value
    decided = plain(value)
    if decided is not None:
        return number(decided, width)
    return z3.If(value, number(1, width), number(0, width))


def _compared(predicate: str, first: Value, second: Value) -> Truth:
    if not is_truth(first):
        return compare(predicate, first, second)
    if predicate not in ("eq", "ne"):
        raise UnsupportedIr(f"unsupported comparison of truth values: {predicate}")
    same = agree(first, second)
    return same if predicate == "eq" else negate(same)


def _selected(chosen: Truth, yes: Value, no: Value) -> Value:
    decided = plain(chosen)
    if decided is not None:
        return yes if decided else no
    if is_truth(yes):
        return some(every(chosen, yes), every(negate(chosen), no))
    return simplify(z3.If(chosen, yes, no))


def _shaped(opcode: str, value: Value, width: int) -> Value:
    if is_truth(value):
        if opcode in ("freeze", "trunc"):
            return value
        bits = as_bits(value, width)
        return simplify(-bits) if opcode == "sext" else bits
    if opcode == "trunc" and width == 1:
        return lowest_bit(value)
    return simplify(_SHAPING[opcode](value, width))


def lowest_bit(value: z3.BitVecRef) -> Truth:
    """As a truth value: a truth that was stored as a number comes back as it was."""
    if value.decl().kind() == z3.Z3_OP_ITE:
        chosen, yes, no = value.children()
        if z3.is_bv_value(yes) and z3.is_bv_value(no):
            return _selected(chosen, yes.as_long() % 2 == 1, no.as_long() % 2 == 1)
    return equal(simplify(z3.Extract(0, 0, value)), 1)


def with_overflow(name: str, first: z3.BitVecRef, second: z3.BitVecRef) -> tuple:
    """llvm.{s,u}{add,sub,mul}.with.overflow: (result, whether it overflowed)."""
    both, verb = name[0] == "s", name[1:]
    known = [constant_of(first), constant_of(second)]
    if None not in known:
        return _exact(verb, both, known, width_of(first))
    result = _BINARY[verb](first, second)
    if verb == "mul" and 1 in known:
        return simplify(result), False
    fits = {
        ("add", True): lambda a, b: z3.And(
            z3.BVAddNoOverflow(a, b, True), z3.BVAddNoUnderflow(a, b)
        ),
        ("sub", True): lambda a, b: z3.And(
            z3.BVSubNoOverflow(a, b), z3.BVSubNoUnderflow(a, b, True)
        ),
        ("mul", True): lambda a, b: z3.And(
            z3.BVMulNoOverflow(a, b, True), z3.BVMulNoUnderflow(a, b)
        ),
        ("add", False): lambda a, b: z3.UGE(a + b, a),
        ("sub", False): lambda a, b: z3.UGE(a, b),
        ("mul", False): lambda a, b: z3.BVMulNoOverflow(a, b, False),
    }[verb, both](first, second)
    return simplify(result), z3.simplify(z3.Not(fits))


def _exact(verb: str, is_signed: bool, known: Sequence[int], width: int) -> tuple:
    if is_signed:
        known = [signed(value, width) for value in known]
    exact = _BINARY[verb](*known)
    result = number(exact % (1 << width), width)
    read = constant_of(result)
    return result, exact != (signed(read, width) if is_signed else read)


def extreme(name: str, first: z3.BitVecRef, second: z3.BitVecRef) -> z3.BitVecRef:
    """llvm.{u,s}{min,max}."""
    smaller = compare(name[0] + "lt", first, second)
    return _selected(smaller, *((first, second) if name[1:] == "min" else (second, first)))


def saturated(name: str, first: z3.BitVecRef, second: z3.BitVecRef) -> z3.BitVecRef:
    """llvm.{u,s}{sub,add}.sat: the least or the greatest number where the result would wrap."""
    if name[0] == "s":
        result, over = with_overflow(name, first, second)
        width = width_of(first)
        negative = compare("slt", first, number(0, width))
        least = number(1 << (width - 1), width)
        return _selected(over, _selected(negative, least, number(least.value - 1, width)), result)
    if name == "usub":
        return simplify(extreme("umax", first, second) - second)
    return simplify(first + extreme("umin", second, simplify(~first)))


def magnitude(value: z3.BitVecRef) -> z3.BitVecRef:
    """llvm.abs: the least number stays as it is."""
    negative = compare("slt", value, number(0, width_of(value)))
    return _selected(negative, simplify(-value), value)


def swapped(value: z3.BitVecRef, step: int = 8) -> z3.BitVecRef:
    """llvm.bswap, and by single bits llvm.bitreverse."""
    starts = range(0, width_of(value), step)
    parts = [z3.Extract(start + step - 1, start, value) for start in starts]
    return simplify(z3.Concat(*parts)) if len(parts) > 1 else value


def funnel(name: str, high: z3.BitVecRef, low: z3.BitVecRef, amount) -> z3.BitVecRef:
    """llvm.fshl, llvm.fshr: both numbers side by side, shifted by the amount modulo the width."""
    width = width_of(high)
    both = z3.Concat(high, low)
    by = z3.ZeroExt(width, z3.URem(amount, number(width, width)))
    if name == "fshl":
        return simplify(z3.Extract(2 * width - 1, width, both << by))
    return simplify(z3.Extract(width - 1, 0, z3.LShR(both, by)))


def ones(value: z3.BitVecRef) -> z3.BitVecRef:
    """llvm.ctpop: how many bits are set."""
    if (known := constant_of(value)) is not None:
        return number(known.bit_count(), width_of(value))
    width = value.size()
    bits = [z3.ZeroExt(width - 1, z3.Extract(index, index, value)) for index in range(width)]
    return simplify(z3.Sum(bits))


def masked(first: z3.BitVecRef, second: z3.BitVecRef) -> z3.BitVecRef:
    """Where the masked low bits are known, a subtraction or a constant: it stays a plain sum."""
    value, mask = (
        (second, constant_of(first))
        if z3.is_bv_value(first)
        else (
            first,
            constant_of(second),
        )
    )
    if mask is None or z3.is_bv_value(value):
        return first & second
    width = value.size()
    cleared = (1 << width) - mask  # mask clears the low bits when this is a power of two
    if mask and cleared & (cleared - 1) == 0:
        count = cleared.bit_length() - 1
        known = low_bits(value, count)
        if known is not None:
            return value - number(known, width)
        return z3.Concat(z3.Extract(width - 1, count, value), number(0, count))
    count = mask.bit_length()
    known = low_bits(value, count)
    if known is not None:
        return number(known & mask, width)
    if mask & (mask + 1) == 0 and 0 < count < width:  # mask keeps the low bits
        return z3.Concat(number(0, width - count), z3.Extract(count - 1, 0, value))
    return first & second


def _or(first: z3.BitVecRef, second: z3.BitVecRef) -> z3.BitVecRef:
    """Where the bits to be set are known, an addition."""
    value, extra = (
        (second, constant_of(first))
        if z3.is_bv_value(first)
        else (
            first,
            constant_of(second),
        )
    )
    if extra is None or z3.is_bv_value(value):
        return first | second
    if value_range(value)[1] < (extra & -extra):
        return value + number(extra, width_of(value))
    known = low_bits(value, extra.bit_length())
    if known is None:
        return first | second
    return value + number((known | extra) - known, value.size())


def _resized(value: z3.BitVecRef, width: int) -> z3.BitVecRef:
    """As wide as that: cut off above, or zeros in front."""
    more = width - width_of(value)
    return z3.ZeroExt(more, value) if more > 0 else z3.Extract(width - 1, 0, value)


_LOGICAL: dict[str, Callable] = {
    "and": every,
    "or": some,
    "xor": lambda a, b: negate(agree(a, b)),
}
_BINARY: dict[str, Callable] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": masked,
    "or": _or,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b,
    "lshr": z3.LShR,
    "ashr": lambda a, b: a >> b,
    "udiv": z3.UDiv,
    "urem": z3.URem,
    "sdiv": lambda a, b: a / b,
    "srem": z3.SRem,
}
_SHAPING: dict[str, Callable] = {
    "zext": lambda value, width: z3.ZeroExt(width - value.size(), value),
    "sext": lambda value, width: z3.SignExt(width - value.size(), value),
    "trunc": lambda value, width: z3.Extract(width - 1, 0, value),
    "ptrtoint": lambda value, width: _resized(value, width),
    "inttoptr": lambda value, width: _resized(value, width),
    "bitcast": lambda value, _width: value,
    "freeze": lambda value, _width: value,
}


def _address(steps: AddressSteps, values: Sequence[Value]) -> z3.BitVecRef:
    base, width = values[0], values[0].size()
    total = base + number(steps.offset, width)
    for stride, index in zip(steps.strides, values[1:], strict=True):
        if stride:
            wide = z3.SignExt(width - index.size(), index) if index.size() < width else index
            total = total + wide * number(stride, width)
    return simplify(total)
