"""A broker and a feed as the risk manager sees them: messages with consistent numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from levibot.bus.messages import (
    AccountSnapshot,
    Fill,
    FundsMoved,
    Intent,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderSubmitted,
    Position,
    RiskAnswer,
    RiskRequest,
    Role,
    Side,
    Tick,
)
from levibot.bus.messages.orders import FundsKind
from levibot.config_risk import RiskConfig
from levibot.risk.manager import RiskManager

BTC, ETH = "BTC/USDT", "ETH/USDT"
KEY = b"secret of this start"
EPOCH = 3
DAY_MS = 86_400_000
MORNING_MS = 20_000 * DAY_MS + 9 * 3_600_000
SECOND = 1_000_000_000


def only(**limits: Any) -> RiskConfig:
    """These limits, and as good as no other; every bet is worth its cap."""
    wide = {"gross_exposure": 10.0, "net_exposure": 10.0, "correlated_exposure": 10.0, "price_collar": 1.0}
    return RiskConfig.model_validate({"kelly_fraction": 1.0, "orders_per_minute": 1000, **wide, **limits})


def tick(symbol: str, price: float, received_ns: int, event_ms: int = MORNING_MS, seq: int = 1) -> Tick:
    """A quote of no spread."""
    return Tick(symbol, 1, seq, 0, event_ms, received_ns, price, price, price)


def intent(
    client_id: str,
    symbol: str = BTC,
    side: Side = "buy",
    quantity: str = "1",
    *,
    role: Role = "entry",
    limit_price: str | None = None,
) -> Intent:
    """An order of an engine; whatever is no entry can only reduce."""
    return Intent(
        client_id,
        symbol,
        side,
        "limit" if limit_price else "market",
        Decimal(quantity),
        role,
        MORNING_MS,
        reduce_only=role != "entry",
        limit_price=Decimal(limit_price) if limit_price else None,
    )


def position(symbol: str, quantity: str, entry_price: str, realized: str = "0") -> Position:
    """A position of the broker."""
    return Position(symbol, Decimal(quantity), Decimal(entry_price), Decimal(realized))


@dataclass
class Broker:
    """Numbers events as the broker does."""

    seq: int = 0
    event_ms: int = MORNING_MS

    def _head(self, order: Intent) -> tuple[int, int, str, str, int, int]:
        self.seq += 1
        return self.seq, self.seq, order.symbol, order.client_id, self.event_ms, MORNING_MS

    def submitted(self, order: Intent) -> OrderEvent:
        """The order was journaled."""
        return OrderSubmitted(*self._head(order), order)

    def filled(
        self, order: Intent, price: str, quantity: str | None = None, fee: str = "0", fee_asset: str = "USDT"
    ) -> OrderEvent:
        """The order was filled; in part if a quantity is given."""
        done = Decimal(quantity) if quantity else order.quantity
        fill = Fill(f"f{self.seq}", done, Decimal(price), Decimal(fee), fee_asset, "taker")
        kind = OrderPartiallyFilled if quantity else OrderFilled
        return kind(*self._head(order), fill)

    def cancelled(self, order: Intent) -> OrderEvent:
        """The order was cancelled."""
        return OrderCancelled(*self._head(order), "wanted")

    def moved(self, amount: str, asset: str = "USDT", kind: FundsKind = "deposit") -> OrderEvent:
        """A balance changed without an order."""
        self.seq += 1
        head = (self.seq, self.seq, "", "", self.event_ms, MORNING_MS)
        return FundsMoved(*head, asset, Decimal(amount), kind, f"transfer {self.seq}")

    def snapshot(
        self,
        cash: str = "10000",
        positions: tuple[Position, ...] = (),
        orders: tuple[Intent, ...] = (),
        balances: dict[str, str] | None = None,
        funds: dict[str, str] | None = None,
    ) -> AccountSnapshot:
        """The account."""
        assets = [{asset: Decimal(amount) for asset, amount in (of or {}).items()} for of in (balances, funds)]
        return AccountSnapshot(1, self.seq, Decimal(cash), "USDT", list(positions), list(orders), *assets)


@dataclass
class Desk:
    """A risk manager with a clock that the test moves."""

    path: Path
    config: RiskConfig = field(default_factory=RiskConfig)
    now_ns: int = 1_000 * SECOND
    wall_ms: int = 1_750_000_000_000
    broker: Broker = field(default_factory=Broker)
    audit: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.risk = self.start()

    def start(self) -> RiskManager:
        """The manager of a new supervisor."""
        self.risk = RiskManager(
            self.config, KEY, EPOCH, self.path, lambda: self.wall_ms, lambda *entry: self.audit.append(entry)
        )
        return self.risk

    def know(self, cash: str = "10000", *positions: Position, **rest: Any) -> None:
        """The broker tells its account."""
        self.risk.on_account_snapshot(self.broker.snapshot(cash, positions, **rest), self.now_ns)

    def price(self, symbol: str, price: float, event_ms: int = MORNING_MS, seq: int = 1) -> None:
        """The feed sends a price, received now."""
        self.risk.on_ticks([tick(symbol, price, self.now_ns, event_ms, seq)], self.now_ns)

    def events(self, *events: OrderEvent) -> bool:
        """The broker sends events."""
        return self.risk.on_order_events(events, self.now_ns)

    def sleep(self, seconds: float) -> None:
        """Time goes by."""
        self.now_ns += round(seconds * SECOND)
        self.wall_ms += round(seconds * 1000)
        self.risk.refresh(self.now_ns)
        self.risk.store_if_due(self.now_ns)

    def ask(
        self, client_id: str, symbol: str = BTC, side: Side = "buy", price: str | Decimal = "100", **changed: Any
    ) -> RiskAnswer:
        """An engine asks for leave; its bet is so good that only caps make the position smaller."""
        request = RiskRequest(
            7, client_id, symbol, side, Decimal(price), 0.99, 1.0, 0.1, MORNING_MS, 0, 0, 0.02, 0.2
        )
        return self.risk.decide(msgspec.structs.replace(request, **changed), self.now_ns)
