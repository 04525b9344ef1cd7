"""Of a mutant, the original with a probe: a trap that is reached where the edit makes a difference.

`size < room` edited to `size <= room` becomes an expression that evaluates both, comes to the trap
where they differ, and has the original's value.  The question whether a call reaches it is put to
proofs/infection.py; here texts are made, and nothing is compiled.

The expression is the largest one around the edit that has no side effect, so that a difference
which stays inside it is none.  Where there is no such expression, the trap is where the edit is:
the claim is then that nothing is ever executed there.  A call that is left out stands between two
marks, behind the second of which the proofs want all memory to be what it was before the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tree_sitter import Node

from ci.killing.mutants import Mutant
from ci.killing.operators import text_of
from ci.killing.source import File, Source, functions, nodes, parse
from proofs.infection import BEGUN, DONE, TRIPPED

TRAP = f"{TRIPPED}()"
# On a machine it is a trap; weak, since several sources may include the header that it is in.
_DEFINED = (
    f"__attribute__((weak, noreturn)) void {TRIPPED}(void) {{ __builtin_trap(); }} "
    f"__attribute__((weak)) void {BEGUN}(void) {{}} "
    f"__attribute__((weak)) void {DONE}(void) {{}}\n"
)
# Expressions that do nothing but have a value, if what is in them does nothing else.
_QUIET = frozenset({
    "binary_expression", "unary_expression", "parenthesized_expression", "cast_expression",
    "conditional_expression", "field_expression", "subscript_expression", "pointer_expression",
    "identifier", "field_identifier", "number_literal", "char_literal", "string_literal",
    "true", "false", "null", "sizeof_expression", "type_descriptor", "argument_list",
})  # fmt: skip
_TYPES = frozenset({"sizeof_expression", "type_descriptor"})  # nothing in them is evaluated
_STATEMENTS = ("expression_statement", "break_statement", "continue_statement", "goto_statement",
               "return_statement")  # fmt: skip
_SIGNS = frozenset({"<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "%", "<<", ">>", "&", "|",
                    "^"})  # fmt: skip


@dataclass(frozen=True)
class Probes:
    """Two originals with a trap, as texts of the mutant's file.

    differs  reached where original and mutant differ at the place of the edit
    comes    reached wherever that place is; where the first says that nothing is executed there,
             reached by every call of the function
    """

    differs: Mutant
    comes: Mutant


def probes_of(mutant: Mutant, source: Source) -> list[Probes]:
    """What may show that the mutant is equivalent: larger expressions first, each of them enough.

    None for an edit outside of functions.  A probe need not compile: not all that looks like an
    expression is one where C wants a constant.
    """
    file = parse(mutant.file, mutant.before)
    place = _Place.of(mutant, file)
    quiet = quiet_functions(source.files)
    own = frozenset(name for each in source.files for name, _ in functions(each))
    return [
        Probes(_with(mutant, place.data, differs), _with(mutant, place.data, comes))
        for differs, comes in place.probes(quiet, own)
    ]


@dataclass(frozen=True)
class _Splice:
    """The bytes [start, end) become `text`."""

    start: int
    end: int
    text: str


def _with(mutant: Mutant, data: bytes, splice: _Splice) -> Mutant:
    text = data[: splice.start] + splice.text.encode() + data[splice.end :]
    return replace(mutant, after=_DEFINED + text.decode())


@dataclass(frozen=True)
class _Place:
    """Where a mutant's edit is.

    data   the original, of which [start, end) becomes `text`
    chain  the nodes around it from the innermost out, as far as its function
    """

    data: bytes
    start: int
    end: int
    text: str
    chain: tuple[Node, ...]

    @staticmethod
    def of(mutant: Mutant, file: File) -> _Place:
        """The place of the edit of a mutant of that file."""
        around: list[Node] = []
        node = file.tree.root_node.descendant_for_byte_range(mutant.start, mutant.end - 1)
        while node is not None:
            around.append(node)
            if node.type == "function_definition":
                break
            node = node.parent
        return _Place(file.text.encode(), mutant.start, mutant.end, mutant.text, tuple(around))

    def probes(
        self, quiet: frozenset[str], own: frozenset[str]
    ) -> Iterator[tuple[_Splice, _Splice]]:
        """(differs, comes), the strongest claim last; `own` are the functions of the source."""
        if not self.chain or self.chain[-1].type != "function_definition":
            return
        around = self._quiet_around(quiet)
        for node in reversed(around):
            yield self._compared(node), _trapped(around[0])
        yield from self._of_operands()
        yield from self._of_all(own)

    def _of_all(self, own: frozenset[str]) -> Iterator[tuple[_Splice, _Splice]]:
        """Nothing is ever executed there; the function is."""
        body = self.chain[-1].child_by_field_name("body")
        for node in self.chain if body is not None else ():
            entered = _Splice(body.start_byte, body.start_byte + 1, f"{{ {TRAP};")
            if node.type in _STATEMENTS:
                if self._is_left_out(node, own):
                    text = f"{{ {BEGUN}(); {_text(node)} {DONE}(); }}"
                    here = f"{{ {TRAP}; {_text(node)} }}"
                    yield (_Splice(node.start_byte, node.end_byte, text),
                           _Splice(node.start_byte, node.end_byte, here))  # fmt: skip
                text = f"{{ {TRAP}; {_text(node)} }}"
                yield _Splice(node.start_byte, node.end_byte, text), entered
                return
            if node.type.endswith("_expression") and self._is_value(node):
                yield _trapped(node), entered
                return

    def _is_left_out(self, node: Node, own: frozenset[str]) -> bool:
        """A call of a function, not of a macro: what it changes is all in memory."""
        inner = node.named_children[0] if node.named_children else node
        return self.text == ";" and inner.type == "call_expression" and (
            _text(inner.child_by_field_name("function")) in own
        )  # fmt: skip

    def _edited(self, node: Node) -> str:
        """The text of a node around the edit, after it."""
        before = self.data[node.start_byte : self.start]
        return (before + self.text.encode() + self.data[self.end : node.end_byte]).decode()

    def _quiet_around(self, quiet: frozenset[str]) -> list[Node]:
        """The expressions around the edit that do nothing but have a value, innermost first."""
        found = []
        for node in self.chain:
            if not node.is_named or self.start < node.start_byte or self.end > node.end_byte:
                continue
            if not is_quiet(node, quiet):
                break
            if self._is_value(node):
                found.append(node)
        return found

    @staticmethod
    def _is_value(node: Node) -> bool:
        """Whether an expression is wanted there that need be no place in memory, nor a constant."""
        parent = node.parent
        if parent is None or node.type in ("argument_list", "field_identifier", *_TYPES):
            return False
        if parent.type == "assignment_expression":
            return parent.child_by_field_name("left") != node
        if parent.type == "call_expression":
            return parent.child_by_field_name("function") != node
        if parent.type == "pointer_expression":
            return not text_of(parent).startswith("&")
        if parent.type == "parenthesized_expression":
            above = parent.parent
            return above is None or above.type not in ("sizeof_expression", "pointer_expression")
        return parent.type not in ("update_expression", "sizeof_expression", "expression_statement",
                                   "init_declarator") or (
            parent.type == "init_declarator" and parent.child_by_field_name("value") == node
        )  # fmt: skip

    def _compared(self, node: Node) -> _Splice:
        """Both texts evaluated; where it is a condition, only whether they are true matters."""
        parent = node.parent
        truth = "!!" if parent and parent.child_by_field_name("condition") == node else ""
        text = (
            f"(__extension__ ({{ __auto_type as_before = {truth}({_text(node)}); "
            f"if (as_before != {truth}({self._edited(node)})) {TRAP}; as_before; }}))"
        )
        return _Splice(node.start_byte, node.end_byte, text)

    def _of_operands(self) -> Iterator[tuple[_Splice, _Splice]]:
        """Another sign between operands that may do something: each is evaluated once."""
        for node in self.chain:
            sign = node.child_by_field_name("operator")
            if node.type != "binary_expression" or sign is None or sign.type not in _SIGNS:
                continue
            if (sign.start_byte, sign.end_byte) != (self.start, self.end):
                continue
            left, right = (_text(node.child_by_field_name(side)) for side in ("left", "right"))
            text = (
                f"(__extension__ ({{ __auto_type one = ({left}); __auto_type other = ({right}); "
                f"__auto_type as_before = (one {sign.type} other); "
                f"if (as_before != (one {self.text} other)) {TRAP}; as_before; }}))"
            )
            yield _Splice(node.start_byte, node.end_byte, text), _trapped(node)
            return


def _trapped(node: Node) -> _Splice:
    return _Splice(node.start_byte, node.end_byte, f"({TRAP}, {_text(node)})")


def _text(node: Node | None) -> str:
    return text_of(node) if node is not None else ""


def is_quiet(node: Node, quiet: frozenset[str]) -> bool:
    """Whether evaluating it does nothing but give a value; `quiet` names functions that are so."""
    if node.type in _TYPES or not node.is_named or node.type == "comment":
        return True
    if node.type == "call_expression":
        called = node.child_by_field_name("function")
        arguments = node.child_by_field_name("arguments")
        if called is None or text_of(called) not in quiet or arguments is None:
            return False
        return is_quiet(arguments, quiet)
    return node.type in _QUIET and all(is_quiet(each, quiet) for each in node.children)


def quiet_functions(files: Iterable[File]) -> frozenset[str]:
    """The functions that do nothing but return a value: they write to locals of their own alone,
    and call such functions only.  Where a name has two definitions, it is none of them."""
    bodies: dict[str, list[Node]] = {}
    for file in files:
        for name, node in functions(file):
            bodies.setdefault(name, []).append(node)
    found = {name for name, every in bodies.items() if len(every) == 1}
    while True:
        loud = {name for name in found if not _is_quiet_body(bodies[name][0], frozenset(found))}
        if not loud:
            return frozenset(found)
        found -= loud


def _is_quiet_body(function: Node, quiet: frozenset[str]) -> bool:
    own = frozenset(_declared(function))
    for node in nodes(function):
        lasting = node.type in ("storage_class_specifier", "type_qualifier") and text_of(node) in (
            "static", "extern", "volatile", "_Atomic",
        )  # fmt: skip
        if lasting and node.parent != function:
            return False
        if node.type in ("assignment_expression", "update_expression"):
            target = node.child_by_field_name("left") or node.child_by_field_name("argument")
            if target is None or target.type != "identifier" or text_of(target) not in own:
                return False
        if node.type == "call_expression":
            called = node.child_by_field_name("function")
            if called is None or text_of(called) not in quiet:
                return False
        if node.type.startswith("gnu_asm") or node.type == "goto_statement":
            return False
    return True


def _declared(function: Node) -> Iterator[str]:
    """Parameters and locals that are no arrays, by name."""
    for node in nodes(function):
        if node.type in ("parameter_declaration", "init_declarator", "declaration"):
            named = node.child_by_field_name("declarator")
            while named is not None and named.type in ("pointer_declarator", "init_declarator"):
                named = named.child_by_field_name("declarator")
            if named is not None and named.type == "identifier":
                yield text_of(named)
