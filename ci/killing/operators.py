"""The mutation operators: what may be edited at a node of a C syntax tree, and how.

It looks at one node at a time and edits nothing; mutants.py makes whole texts of the edits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tree_sitter import Node

_RELATIONAL = {
    "<": ("<=", "!="),
    "<=": ("<", "=="),
    ">": (">=", "!="),
    ">=": (">", "=="),
    "==": ("!=", "<=", ">="),
    "!=": ("==", "<", ">"),
}
_LOGICAL = {"&&": ("||",), "||": ("&&",)}
_ARITHMETIC = {
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "%": ("*",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("&",),
    "++": ("--",),
    "--": ("++",),
}
_ASSIGNING = {f"{one}=": tuple(f"{other}=" for other in others)
              for one, others in _ARITHMETIC.items() if one not in ("++", "--")}  # fmt: skip
_SIGNS = {
    "relational": (("binary_expression",), _RELATIONAL),
    "logical": (("binary_expression",), _LOGICAL),
    "arithmetic": (
        ("binary_expression", "assignment_expression", "update_expression"),
        _ARITHMETIC | _ASSIGNING,
    ),
}
_CONDITIONAL = (
    "if_statement",
    "while_statement",
    "do_statement",
    "for_statement",
    "conditional_expression",
)
_JUMPS = ("break_statement", "continue_statement", "goto_statement", "return_statement")
_INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)\Z")


@dataclass(frozen=True)
class Edit:
    """The bytes [start, end) of a file become `text`; `shown` is the part of the tree to quote."""

    operator: str
    start: int
    end: int
    text: str
    shown: Node


def edits(node: Node) -> Iterator[Edit]:
    """Every edit at this node itself; those of its children are theirs."""
    for operator in OPERATORS.values():
        yield from operator(node)


def text_of(node: Node) -> str:
    """The source text of a node."""
    return (node.text or b"").decode(errors="replace")


def _replace(operator: str, node: Node, text: str, shown: Node | None = None) -> Edit:
    return Edit(operator, node.start_byte, node.end_byte, text, shown or node)


def _signs(operator: str) -> Callable[[Node], Iterator[Edit]]:
    """Another sign in the place of this one."""
    kinds, table = _SIGNS[operator]

    def at(node: Node) -> Iterator[Edit]:
        sign = node.child_by_field_name("operator") if node.type in kinds else None
        for other in table.get(sign.type, ()) if sign else ():
            yield _replace(operator, sign, other, node)

    return at


def _constant(node: Node) -> Iterator[Edit]:
    """An integer one larger, one smaller."""
    found = _INTEGER.match(text_of(node)) if node.type == "number_literal" else None
    if not found:
        return
    octal = found[1][0] == "0" and found[1].isdigit()
    value = int(found[1], 8 if octal else 0)
    shown = _expression_around(node)
    for other in (value + 1, value - 1):
        text = f"{other}{found[2]}"
        yield _replace("constant", node, text if other >= 0 else f"({text})", shown)


def _condition(node: Node) -> Iterator[Edit]:
    """A condition turned round."""
    asked = node.child_by_field_name("condition") if node.type in _CONDITIONAL else None
    if asked is not None:
        inner = _bare(asked)
        yield _replace("condition", inner, f"!({text_of(inner)})", inner)


def _removal(node: Node) -> Iterator[Edit]:
    """A statement, or a call that is one, left out; the last return of a function stays."""
    if node.type == "expression_statement" and node.named_children:
        is_call = _bare(node.named_children[0]).type == "call_expression"
        yield _replace("call" if is_call else "statement", node, ";")
    elif node.type in _JUMPS and not _ends_function(node):
        yield _replace("statement", node, ";")


def _ends_function(node: Node) -> bool:
    body = node.parent
    if body is None or body.parent is None or body.parent.type != "function_definition":
        return False
    return body.named_children[-1] == node


def _swap(node: Node) -> Iterator[Edit]:
    """Two neighbouring arguments of a call in the other order."""
    if node.type != "call_expression":
        return
    listed = node.child_by_field_name("arguments")
    given = listed.named_children if listed else []
    given = [each for each in given if each.type != "comment"]
    for one, other in pairwise(given):
        if text_of(one) != text_of(other):
            text = f"{text_of(other)}, {text_of(one)}"
            yield Edit("swap", one.start_byte, other.end_byte, text, node)


def _mask(node: Node) -> Iterator[Edit]:
    """A mask one bit off: its `x - 1`, its complement, its named bit; a distance of a shift."""
    if node.type not in ("binary_expression", "assignment_expression"):
        return
    sign = node.child_by_field_name("operator")
    sides = [node.child_by_field_name(name) for name in ("left", "right")]
    if sign is None or None in sides:
        return
    if sign.type in ("<<", ">>", "<<=", ">>="):
        for distance in ("+ 1", "- 1"):
            yield _replace("mask", sides[1], f"({text_of(sides[1])} {distance})", node)
    elif sign.type in ("&", "&="):
        for side in sides:
            yield from _one_off(side, node)


def _one_off(side: Node, shown: Node) -> Iterator[Edit]:
    inner = _bare(side)
    if inner.type == "unary_expression" and text_of(inner).startswith("~"):
        argument = inner.child_by_field_name("argument")
        yield _replace("mask", inner, text_of(argument), shown)
        inner = _bare(argument)
    if inner.type == "identifier" and text_of(inner).isupper():
        yield _replace("mask", inner, f"({text_of(inner)} << 1)", shown)
    found = re.fullmatch(r"(.*\S)\s*-\s*1", text_of(inner), re.S)
    if inner.type == "binary_expression" and found:
        yield _replace("mask", inner, found[1], shown)
        yield _replace("mask", inner, f"{found[1]} - 2", shown)


def _bare(node: Node) -> Node:
    """What stands inside parentheses and casts."""
    while node.type in ("parenthesized_expression", "cast_expression"):
        inside = [each for each in node.named_children if each.type != "comment"]
        node = inside[-1]
    return node


def _expression_around(node: Node) -> Node:
    """What to quote for a constant: the operation that it is part of."""
    around = node
    while around.parent and around.parent.type in ("parenthesized_expression", "cast_expression"):
        around = around.parent
    parent = around.parent
    return parent if parent and parent.type in _QUOTED else node


_QUOTED = (
    "binary_expression",
    "assignment_expression",
    "init_declarator",
    "enumerator",
    "return_statement",
    "subscript_expression",
    "conditional_expression",
    "initializer_pair",
    "call_expression",
)

# Masks come before constants: both would write the same text, and a mask says more.
OPERATORS: dict[str, Callable[[Node], Iterator[Edit]]] = {
    "relational": _signs("relational"),
    "logical": _signs("logical"),
    "arithmetic": _signs("arithmetic"),
    "mask": _mask,
    "constant": _constant,
    "condition": _condition,
    "removal": _removal,
    "swap": _swap,
}
