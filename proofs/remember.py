"""Remembers the results of pure functions on z3 terms, by the identity of the terms.

z3 terms are shared: equal ones built twice are the same object inside z3, with the same number.
The arguments are kept, because z3 gives the number of a dead term to a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import z3

from proofs.literals import Literal

P, R = ParamSpec("P"), TypeVar("R")
_STORES: list[dict] = []


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """The function with a memory; positional arguments only."""
    store: dict = {}
    _STORES.append(store)

    @wraps(function)
    def recall(*arguments):
        key = tuple([_identity(argument) for argument in arguments])
        known = store.get(key)
        if known is None:
            known = store[key] = (function(*arguments), arguments)
        return known[0]

    return recall


def forget() -> None:
    """Empties every memory: between explorations that share nothing."""
    for store in _STORES:
        store.clear()


def _identity(argument: object) -> object:
    if argument.__class__ is Literal:
        return ("number", argument.value, argument.width)
    if isinstance(argument, z3.AstRef):
        return ("z3", argument.get_id())
    if isinstance(argument, (int, str)):
        return (type(argument), argument)
    return id(argument)
