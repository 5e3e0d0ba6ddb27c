"""Accounts: API keys, balances with what is reserved, orders and fills."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Literal

from tests.exchange.model import Side

OrderType = Literal[
    "limit", "market", "post_only", "stop_loss", "stop_loss_limit", "take_profit", "take_profit_limit"
]
TimeInForce = Literal["GTC", "IOC", "FOK"]
OrderStatus = Literal["new", "partially_filled", "filled", "canceled", "rejected", "expired"]
FeeAsset = Literal["received", "quote"]
STOP_TYPES = ("stop_loss", "stop_loss_limit", "take_profit", "take_profit_limit")
MARKET_TYPES = ("market", "stop_loss", "take_profit")


class Reason(Enum):
    """Why an exchange refuses; each dialect has its own code and words for it."""

    BAD_SYMBOL = "bad symbol"
    MARKET_CLOSED = "market closed"
    BAD_PARAMETER = "bad parameter"
    LOT_SIZE = "lot size"
    PRICE_FILTER = "price filter"
    NOTIONAL = "minimum notional"
    INSUFFICIENT = "insufficient balance"
    WOULD_TAKE = "would immediately match"
    WOULD_TRIGGER = "would trigger immediately"
    DUPLICATE = "duplicate order"
    UNKNOWN_CANCEL = "unknown order to cancel"
    NO_SUCH_ORDER = "no such order"
    NO_OPPONENT = "no opposite orders"


class RejectedError(Exception):
    """The exchange says no."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value} {detail}".strip())
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class OrderRequest:
    """What a client asks for, already parsed; exactly one of amount and cost is given."""

    symbol: str
    side: Side
    type: OrderType
    amount: Decimal | None = None
    cost: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = "GTC"
    client_id: str | None = None


@dataclass(frozen=True)
class Fill:
    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: Side
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    time_ms: int

    @property
    def cost(self) -> Decimal:
        return self.price * self.amount


@dataclass
class Order:
    id: int
    client_id: str
    request: OrderRequest
    amount: Decimal
    created_ms: int
    updated_ms: int
    status: OrderStatus = "new"
    triggered: bool = True
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    reserved_asset: str = ""
    reserved: Decimal = Decimal(0)
    list_id: int = -1
    fills: list[Fill] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        return self.request.symbol

    @property
    def side(self) -> Side:
        return self.request.side

    @property
    def price(self) -> Decimal | None:
        return self.request.price

    @property
    def remaining(self) -> Decimal:
        return self.amount - self.filled

    @property
    def open(self) -> bool:
        return self.status in ("new", "partially_filled")


@dataclass
class Balance:
    free: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)


@dataclass
class Transfer:
    """A deposit, or a withdrawal whose fee comes on top of its amount."""

    id: str
    asset: str
    amount: Decimal
    is_deposit: bool
    time_ms: int
    fee: Decimal = Decimal(0)
    done: bool = True


@dataclass
class Account:
    """One API key and what it may and has."""

    key: str
    secret: str
    can_trade: bool = True
    can_withdraw: bool = False
    tied_to_address: bool = True
    fee_asset: FeeAsset = "received"
    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")
    balances: dict[str, Balance] = field(default_factory=lambda: defaultdict(Balance))
    orders: dict[int, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    def transfer(
        self, asset: str, amount: Decimal, time_ms: int, *, fee: Decimal = Decimal(0), done: bool = True
    ) -> Transfer:
        """Deposit an amount, or withdraw a negative one; a deposit that is not done has not arrived yet."""
        number = f"{len(self.transfers) + 1:032x}"
        made = Transfer(number, asset, abs(amount), amount > 0, time_ms, fee, done)
        if not made.is_deposit:
            self.balances[asset].free += amount - fee
        elif done:
            self.balances[asset].free += amount
        self.transfers.append(made)
        return made

    def finish(self, transfer: Transfer) -> None:
        """Let one that was under way arrive."""
        transfer.done = True
        if transfer.is_deposit:
            self.balances[transfer.asset].free += transfer.amount

    def order(self, order_id: int | None, client_id: str | None) -> Order | None:
        """By its id, else the youngest with that client id."""
        if order_id is not None:
            return self.orders.get(order_id)
        return next((order for order in reversed(self.orders.values()) if order.client_id == client_id), None)

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        return [o for o in self.orders.values() if o.open and symbol in (None, o.symbol)]
