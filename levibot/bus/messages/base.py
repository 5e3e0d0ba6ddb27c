"""What all messages have in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
OrderKind = Literal["market", "limit", "stop", "take_profit", "trailing_stop"]
TimeInForce = Literal["gtc", "ioc"]
Role = Literal["entry", "exit", "stop", "take_profit", "emergency"]
RiskState = Literal["ACTIVE", "REDUCING", "HALTED"]


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of all messages: immutable, positional on the wire."""


class MoneyMessage(Message, frozen=True):
    """Base of messages with exact numbers: one NaN or infinity would poison every sum after it."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{name} is {value}, expected a finite number")
