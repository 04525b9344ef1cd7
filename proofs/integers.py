"""Bit-vector conditions as conditions on integers, exactly: wrap-around is an integer of its own.

An optional road to the solver: products and long chains of additions are far easier there.
A term without a translation raises NoIntegerForm and is left to the bit-vector solver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import z3

from proofs.terms import as_sum, value_range


@dataclass(frozen=True)
class Product:
    """A variable that stands for the product of two numbers; its sides say only what is linear."""

    value: z3.ArithRef
    first: z3.ArithRef
    second: z3.ArithRef

    def exact(self) -> z3.BoolRef:
        """It is their product: not linear."""
        return self.value == self.first * self.second

    def beside(self, factor: z3.ArithRef) -> z3.ArithRef | None:
        """The other factor; None where this is neither."""
        if self.first.eq(factor):
            return self.second
        return self.first if self.second.eq(factor) else None


def with_ones(products: Sequence[Product]) -> list[z3.BoolRef]:
    """The case that a factor of each product is 1, in which all are linear; as few as will do."""
    facts, left = [], list(products)
    while left:
        factors = [factor for product in left for factor in (product.first, product.second)]
        shared = max(factors, key=lambda one: sum(one.eq(other) for other in factors))
        own = [product for product in left if product.beside(shared) is not None]
        facts += [shared == 1, *(product.value == product.beside(shared) for product in own)]
        left = [product for product in left if product.beside(shared) is None]
    return facts


def _ordered(one: Product, other: Product) -> Iterator[z3.BoolRef]:
    """Of two products with a factor in common the one with the larger other factor is larger.

    By that factor at least.
    """
    for factor in (one.first, one.second):
        first, second = one.beside(factor), other.beside(factor)
        if second is not None:
            yield z3.Implies(first < second, one.value + factor <= other.value)
            yield z3.Implies(second < first, other.value + factor <= one.value)
            yield z3.Implies(first == second, one.value == other.value)


class NoIntegerForm(Exception):
    """A term (named in the message) that has no translation here."""


_COMPARISONS = {
    z3.Z3_OP_EQ: lambda a, b: a == b,
    z3.Z3_OP_DISTINCT: lambda a, b: a != b,
    z3.Z3_OP_ULEQ: lambda a, b: a <= b,
    z3.Z3_OP_ULT: lambda a, b: a < b,
    z3.Z3_OP_UGEQ: lambda a, b: a >= b,
    z3.Z3_OP_UGT: lambda a, b: a > b,
}
_CONNECTIVES = {
    z3.Z3_OP_AND: z3.And,
    z3.Z3_OP_OR: z3.Or,
    z3.Z3_OP_NOT: z3.Not,
    z3.Z3_OP_IMPLIES: z3.Implies,
    z3.Z3_OP_XOR: z3.Xor,
}
_TRUTH = (z3.Z3_OP_TRUE, z3.Z3_OP_FALSE)


@dataclass(frozen=True)
class Query:
    """A translated conjunction.

    sides      definitions of the quotients, wraps and ranges in it, by their number; each says
               something only of variables that nothing before it mentions
    variables  the bit-vector variables with their integers
    products   the products of variables in it
    """

    conditions: list[z3.BoolRef]
    sides: dict[int, tuple[z3.BoolRef, ...]]
    variables: list[tuple[z3.BitVecRef, z3.ArithRef]]
    products: tuple[Product, ...]


class Translation:
    """Keeps what it has translated, so that conditions shared by many queries cost once.

    Each translated condition knows the side conditions (definitions of quotients and wraps) of
    the terms in it; a query needs those of its conditions and no others.
    """

    def __init__(self) -> None:
        self._sides: list[tuple[z3.BoolRef, ...]] = []
        self._variables: dict[int, tuple[z3.BitVecRef, z3.ArithRef]] = {}
        self._known: dict[int, tuple[z3.ExprRef, z3.ExprRef, frozenset[int]]] = {}
        self._products: dict[int, Product] = {}
        self._multiplied: dict[tuple[int, int], tuple[z3.ArithRef, frozenset[int]]] = {}
        self._fresh = 0

    def query(self, conditions: Sequence[z3.BoolRef]) -> Query:
        """Integer conditions that hold together iff the given ones do; raises NoIntegerForm."""
        translated, needed = self._all(self._boolean, conditions)
        sides = {index: self._sides[index] for index in sorted(needed)}
        variables = [self._variables[index] for index in needed if index in self._variables]
        products = [self._products[index] for index in sides if index in self._products]
        translated += [fact for pair in combinations(products, 2) for fact in _ordered(*pair)]
        return Query(translated, sides, variables, tuple(products))

    def _remember(self, term, result, own: Sequence[z3.BoolRef], needed: set[int]):
        if own:
            needed = needed | {len(self._sides)}
            self._sides.append(tuple(own))
        kept = frozenset(needed)
        self._known[term.get_id()] = (term, result, kept)
        return result, kept

    def _boolean(self, term: z3.BoolRef):
        known = self._known.get(term.get_id())
        if known:
            return known[1:]
        kind = term.decl().kind()
        if kind in _TRUTH or (kind == z3.Z3_OP_UNINTERPRETED and not term.num_args()):
            return self._remember(term, term, (), set())
        boolean = term.num_args() > 0 and z3.is_bool(term.arg(term.num_args() - 1))
        if boolean and kind in (z3.Z3_OP_EQ, z3.Z3_OP_DISTINCT, z3.Z3_OP_ITE, *_CONNECTIVES):
            parts, needed = self._all(self._boolean, term.children())
            build = _CONNECTIVES.get(kind) or _COMPARISONS.get(kind) or z3.If
            return self._remember(term, build(*parts), (), needed)
        if kind in _COMPARISONS:
            parts, needed = self._all(self._integer, term.children())
            return self._remember(term, _COMPARISONS[kind](*parts), (), needed)
        if kind == z3.Z3_OP_BUMUL_NO_OVFL:
            product, needed = self._product(*term.children())
            return self._remember(term, product < (1 << term.arg(0).size()), (), set(needed))
        raise NoIntegerForm(term.decl().name())

    def _all(self, translate, terms):
        results, needed = [], set()
        for term in terms:
            result, sides = translate(term)
            results.append(result)
            needed |= sides
        return results, needed

    def _integer(self, term: z3.BitVecRef):
        known = self._known.get(term.get_id())
        if known:
            return known[1:]
        total = as_sum(term)
        if len(total.parts) == 1 and not total.constant and total.parts[0][1].eq(term):
            return self._atom(term)
        atoms, needed = self._all(self._integer, [atom for _, atom in total.parts])
        result = z3.IntVal(total.constant)
        for (coefficient, _), atom in zip(total.parts, atoms, strict=True):
            result = result + coefficient * atom
        return self._wrapped(term, z3.simplify(result), total.bounds(), needed)

    def _wrapped(self, term, value: z3.ArithRef, bounds: tuple[int, int], needed: set[int]):
        """value modulo 2**width, with as little said about the wraps as its bounds allow."""
        whole = 1 << term.size()
        fewest, most = bounds[0] // whole, bounds[1] // whole
        if fewest == most:
            return self._remember(term, value - whole * fewest if fewest else value, (), needed)
        turns = self._variable("turns")
        value = value - whole * turns
        own = (turns >= fewest, turns <= most, value >= 0, value < whole)
        return self._remember(term, value, own, needed)

    def _atom(self, term: z3.BitVecRef):
        kind = term.decl().kind()
        if kind == z3.Z3_OP_UNINTERPRETED and not term.num_args():
            variable = z3.Int(f"{term.decl().name()}:{term.size()}")  # a name may have two widths
            self._variables[len(self._sides)] = (term, variable)
            own = (variable >= 0, variable < (1 << term.size()))
            return self._remember(term, variable, own, set())
        if kind == z3.Z3_OP_UNINTERPRETED:
            return self._application(term)
        if kind == z3.Z3_OP_EXTRACT:
            return self._extract(term)
        if kind == z3.Z3_OP_ITE:
            condition, sides = self._boolean(term.arg(0))
            (yes, no), needed = self._all(self._integer, term.children()[1:])
            return self._remember(term, z3.If(condition, yes, no), (), needed | sides)
        if kind in (z3.Z3_OP_BUDIV, z3.Z3_OP_BUDIV_I):
            return self._quotient(term)
        if kind == z3.Z3_OP_BMUL:
            return self._wrapped_product(term)
        if kind == z3.Z3_OP_BNOT:
            value, needed = self._integer(term.arg(0))
            return self._remember(term, (1 << term.size()) - 1 - value, (), set(needed))
        raise NoIntegerForm(term.decl().name())

    def _application(self, term: z3.BitVecRef):
        """A function of which nothing is known but that equal arguments give equal results."""
        arguments, needed = self._all(self._integer, term.children())
        sorts = [z3.IntSort()] * (len(arguments) + 1)
        widths = "".join(f":{argument.size()}" for argument in (*term.children(), term))
        value = z3.Function(f"{term.decl().name()}{widths}", *sorts)(*arguments)
        self._variables[len(self._sides)] = (term, value)
        own = (value >= 0, value < (1 << term.size()))
        return self._remember(term, value, own, needed)

    def _extract(self, term: z3.BitVecRef):
        top, bottom = term.params()
        source = term.arg(0)
        value, needed = self._integer(source)
        middle = self._variable("middle")
        whole, own = middle * (1 << bottom), [middle >= 0, middle < (1 << (top - bottom + 1))]
        if value_range(source)[1] >> (top + 1):
            above = self._variable("above")
            own.append(above >= 0)
            whole = whole + above * (1 << (top + 1))
        if bottom:
            own += [value - whole >= 0, value - whole < (1 << bottom)]
        else:
            own.append(value == whole)
        return self._remember(term, middle, own, set(needed))

    def _wrapped_product(self, term: z3.BitVecRef):
        first, *others = term.children()
        value, needed = self._integer(first)
        needed, most = set(needed), value_range(first)[1]
        for factor in others:
            second, sides = self._integer(factor)
            high = value_range(factor)[1]
            value, sides = self._times(value, second, most * high, needed | sides)
            needed, most = needed | sides, most * high
        return self._wrapped(term, value, (0, most), needed)

    def _product(self, first: z3.BitVecRef, second: z3.BitVecRef):
        (one, other), needed = self._all(self._integer, (first, second))
        most = value_range(first)[1] * value_range(second)[1]
        return self._times(one, other, most, needed)

    def _times(self, first: z3.ArithRef, second: z3.ArithRef, most: int, needed: set[int]):
        """Their product, in whatever order: a variable, of which the linear facts are sides."""
        key = tuple(sorted((first.get_id(), second.get_id())))
        if key not in self._multiplied:
            product = Product(self._variable("product"), first, second)
            value = product.value
            own = (
                *(value >= 0, value <= most),
                z3.If(first == 0, value == 0, value >= second),
                z3.If(second == 0, value == 0, value >= first),
            )
            index = len(self._sides)
            self._sides.append(own)
            self._products[index] = product
            self._multiplied[key] = value, frozenset({*needed, index})
        return self._multiplied[key]

    def _quotient(self, term: z3.BitVecRef):
        (dividend, divisor), needed = self._all(self._integer, term.children())
        quotient, most = self._variable("quotient"), (1 << term.size()) - 1
        self._sides.append((quotient >= 0, quotient <= most))
        needed = {*needed, len(self._sides) - 1}
        whole, needed = self._times(divisor, quotient, most * most, needed)
        exact = z3.And(whole <= dividend, dividend < whole + divisor)
        own = (z3.If(divisor == 0, quotient == most, exact),)
        return self._remember(term, quotient, own, set(needed))

    def _variable(self, stem: str) -> z3.ArithRef:
        self._fresh += 1
        return z3.Int(f"{stem}!{self._fresh}")
