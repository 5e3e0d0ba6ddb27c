"""Signs of life (PUSH → PULL of the supervisor)."""

from __future__ import annotations

from decimal import Decimal

from levibot.bus.messages.base import Message, MoneyMessage


class EngineReport(MoneyMessage, frozen=True, tag=True):
    price: float | None
    signal: str | None  # "long", "short", "flat", or None before the first
    probability: float | None
    confidence: float | None
    position: Decimal | None
    entry_price: Decimal | None
    daily_pnl: Decimal | None
    total_pnl: Decimal | None
    trade_count: int
    signals: dict[str, int]  # count by side
    ticks: int  # kept
    conflated: int  # replaced by a later tick before they were looked at
    tick_latency_us: int  # newest tick: entered the machine → strategy called
    bar_ms: int | None  # opening time of the newest closed bar
    ledger: str = "ok"  # or what was wrong with it
    refused_messages: int = 0  # that did not decode, or made no sense


class FeedReport(Message, frozen=True, tag=True):
    published: int
    symbols: dict[str, str]  # symbol → state in words
    event_ms: int | None
    ended: bool
    refused_messages: int = 0


class BrokerReport(Message, frozen=True, tag=True):
    seq: int
    open_orders: int
    orders: dict[str, int]  # count by state
    refused_messages: int


class Heartbeat(Message, frozen=True):
    """Proof of work, sent by the loop that does the work."""

    worker: str
    incarnation: int
    pid: int
    ready: bool
    waiting_for: str  # "" when ready
    paused: bool
    turns: int  # of the loop
    market_ns: int | None  # when the newest market data was received
    decision_ns: int | None  # newest decision
    errors: int
    last_error: str
    queue_depth: int
    dropped: int
    preloaded: bool  # the forkserver's preload took
    report: EngineReport | FeedReport | BrokerReport | None = None
