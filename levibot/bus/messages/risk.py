"""Requests to risk and its answers (DEALER → ROUTER of the supervisor)."""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages.base import Message, MoneyMessage, Side


class RiskRequest(MoneyMessage, frozen=True, tag=True):
    """An engine asks to open or increase a position."""

    request_id: int
    client_id: str
    symbol: str
    side: Side
    price: Decimal
    probability: float | None  # that the bet is won: 1 − p(rise) for a short; None: not estimated
    confidence: float  # 0..1
    volatility: float | None  # annualised, None if unknown
    event_ms: int
    market_seq: int = 0  # sequence number of the newest tick that the engine had seen
    market_epoch: int = 0  # its epoch
    stop_loss: float | None = None  # distance of the stop that the entry will have, as a fraction of `price`
    take_profit: float | None = None  # of its target; None: it has none


class Grant(MoneyMessage, frozen=True, tag=True):
    """Leave to increase a position: once, up to `max_quantity`, until `expires_ns`."""

    request_id: int
    client_id: str
    symbol: str
    side: Side
    max_quantity: Decimal
    supervisor_epoch: int
    expires_ns: int  # CLOCK_BOOTTIME
    mac: bytes = b""  # keyed digest: only the supervisor can make a grant, only the broker can check it


class RiskRefused(Message, frozen=True, tag=True):
    request_id: int
    client_id: str
    symbol: str
    reason: str


RiskAnswer = Grant | RiskRefused
