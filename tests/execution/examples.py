"""Markets, prices and orders that tests of execution share."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

from levibot.bus.messages import (
    Bar,
    Book,
    Grant,
    Intent,
    MarketSpec,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    Side,
    Tick,
    Trade,
    Trades,
)
from levibot.clock import boot_ns
from levibot.config_execution import PaperConfig
from levibot.execution.books import Books
from levibot.execution.grants import GrantBook, sign_grant
from levibot.execution.paper import PaperExchange

SYMBOL = "BTC/USDT"
KEY = b"secret of this start"
EPOCH = 7
D = Decimal

_numbers = itertools.count(1)


def market(symbol: str = SYMBOL, **changed: Any) -> MarketSpec:
    """Rules of a market with coarse steps and visible fees."""
    base, _, quote = symbol.partition("/")
    rules: dict[str, Any] = {
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "amount_step": D("0.001"),
        "price_tick": D("0.01"),
        "min_amount": D("0.001"),
        "min_cost": D("5"),
        "maker_fee": D("0.001"),
        "taker_fee": D("0.002"),
    }
    return MarketSpec(**{**rules, **changed})


def tick(price: float, *, symbol: str = SYMBOL, seq: int | None = None, **changed: Any) -> Tick:
    """A price update without a spread, received now."""
    number = next(_numbers) if seq is None else seq
    fields: dict[str, Any] = {
        "symbol": symbol,
        "epoch": 1,
        "seq": number,
        "reliable_seq": 0,
        "event_ms": 1_700_000_000_000 + number,
        "received_ns": boot_ns(),
        "bid": price,
        "ask": price,
        "last": price,
    }
    return Tick(**{**fields, **changed})


def book(bids: str, asks: str, *, symbol: str = SYMBOL, **changed: Any) -> Book:
    """An order book, received now; levels as "99x2 98x1.5", best first."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "symbol": symbol,
        "epoch": 1,
        "seq": number,
        "event_ms": 1_700_000_000_000 + number,
        "received_ns": boot_ns(),
        "bids": _levels(bids),
        "asks": _levels(asks),
    }
    return Book(**{**fields, **changed})


def _levels(text: str) -> list[tuple[float, float]]:
    pairs = (level.split("x") for level in text.split())
    return [(float(price), float(amount)) for price, amount in pairs]


def trades(*told: tuple[Side | None, float, float], symbol: str = SYMBOL, **changed: Any) -> Trades:
    """Public trades: side of the taker, price, amount."""
    number = next(_numbers)
    event_ms = 1_700_000_000_000 + number
    items = [Trade("", event_ms, side, price, amount) for side, price, amount in told]
    fields: dict[str, Any] = {
        "symbol": symbol,
        "epoch": 1,
        "seq": number,
        "event_ms": event_ms,
        "received_ns": boot_ns(),
        "trades": items,
    }
    return Trades(**{**fields, **changed})


def bar(number: int, low: float, high: float, volume: float, *, symbol: str = SYMBOL) -> Bar:
    """A closed bar."""
    return Bar(symbol, 1, number, number * 60_000, low, high, low, high, volume)


def grant_for(intent: Intent, *, key: bytes = KEY, **changed: Any) -> Grant:
    """A grant that allows exactly this intent, with some fields changed before it is signed."""
    fields: dict[str, Any] = {
        "request_id": 1,
        "client_id": intent.client_id,
        "symbol": intent.symbol,
        "side": intent.side,
        "max_quantity": intent.quantity,
        "supervisor_epoch": EPOCH,
        "expires_ns": boot_ns() + 2_000_000_000,
    }
    return sign_grant(key, Grant(**{**fields, **changed}))


def entry(quantity: str, *, side: Side = "buy", granted: bool = True, **changed: Any) -> Intent:
    """A market order that opens a position."""
    fields: dict[str, Any] = {
        "client_id": f"entry-{next(_numbers)}",
        "symbol": SYMBOL,
        "side": side,
        "kind": "market",
        "quantity": D(quantity),
        "role": "entry",
        "event_ms": 0,
    }
    intent = Intent(**{**fields, **changed})
    if not granted:
        return intent
    return Intent(**{**fields, **changed, "grant": grant_for(intent)})


def leave(quantity: str, *, side: Side = "sell", **changed: Any) -> Intent:
    """A market order that closes a position."""
    fields: dict[str, Any] = {"role": "exit", "reduce_only": True, "client_id": f"exit-{next(_numbers)}"}
    return entry(quantity, side=side, granted=False, **{**fields, **changed})


class Desk:
    """A paper exchange over a database, which can be restarted."""

    def __init__(self, path: Path, *, cash: str = "10000", instance: str = "test", **paper: Any) -> None:
        self.path = path
        self.instance = instance
        self.paper = PaperConfig(**{"cash": D(cash), "slippage": 0.0, "spread": 0.0, "latency": 0.0, **paper})
        self.markets = [market()]
        self._began_ns = boot_ns()
        self.ahead_ns = 0  # time passes by this alone, however slow the machine is
        self.start()

    def start(self) -> None:
        """Open the books, as at the start of a process."""
        self.books = Books(self.path, self.instance, "USDT", self.paper.cash)
        self.exchange = PaperExchange(self.books, self.paper, GrantBook(KEY, EPOCH), self.now_ns)
        for rules in self.markets:
            self.exchange.set_market(rules)

    def now_ns(self) -> int:
        """CLOCK_BOOTTIME of the exchange."""
        return self._began_ns + self.ahead_ns

    def restart(self) -> None:
        """Forget all that is not on disk."""
        self.books.close()
        self.start()

    def price(self, price: float, **changed: Any) -> list[str]:
        """A new price; the kinds of the events that follow."""
        return names(self.exchange.on_tick(tick(price, **changed)))

    def flow(self, item: Book | Trades | Bar) -> list[str]:
        """An order book, trades or a bar; the kinds of the events that follow."""
        return names(self.exchange.on_flow(item))

    def position(self) -> Decimal:
        """Signed quantity held."""
        return self.books.position(SYMBOL).quantity


def names(events: list[Any]) -> list[str]:
    """Kinds of events, without the word all of them begin with."""
    return [type(event).__name__.removeprefix("Order") for event in events]


def reason(events: list[Any]) -> str:
    """The reason that the last event gives."""
    text: str = events[-1].reason
    return text


def fills(events: list[OrderEvent]) -> list[tuple[Decimal, Decimal, str]]:
    """Quantity, price and liquidity of each fill."""
    told = [event.fill for event in events if isinstance(event, OrderFilled | OrderPartiallyFilled)]
    return [(fill.quantity, fill.price, fill.liquidity) for fill in told]
