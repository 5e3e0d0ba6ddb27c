"""Hypothesis strategies for every message type, drawn from its own annotations."""

from __future__ import annotations

import functools
import types
import typing
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from levibot.bus import messages

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=40),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    types.NoneType: st.none(),
}

MESSAGE_TYPES = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type)
    and issubclass(kind, messages.Message)
    and kind not in (messages.Message, messages.MoneyMessage, messages.OrderMessage)
]


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that the annotation of a message field allows."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    return st.deferred(lambda: messages_of(annotation))


@functools.cache
def messages_of(kind: type[messages.Message]) -> st.SearchStrategy[Any]:
    """Messages of one type."""
    return st.builds(kind, **{field.name: values_of(field.type) for field in msgspec.structs.fields(kind)})
