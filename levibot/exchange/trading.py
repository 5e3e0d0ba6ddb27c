"""What the live broker asks of an exchange, and what it is told: exact numbers, checked, no ccxt in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from levibot.bus.messages import OrderKind, Side, TimeInForce

OrderStatus = Literal["open", "filled", "cancelled", "rejected"]


@dataclass(frozen=True, slots=True)
class Placement:
    """An order as it is posted; amounts in the steps of the market.

    Attributes
    ----------
    kind
        ``"market"``, ``"limit"``, or ``"stop"``: a market order at `trigger_price`, kept by the exchange.
    is_protective
        Whether it can only make a position smaller: it may use the reserve of the rate limit then.
    """

    client_id: str
    symbol: str
    side: Side
    kind: OrderKind
    quantity: Decimal
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = "gtc"
    post_only: bool = False
    is_protective: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeOrder:
    """An order as the exchange tells of it; what it does not tell is None."""

    client_id: str  # empty: it has none, so it is not ours
    exchange_id: str
    symbol: str
    side: Side
    status: OrderStatus
    quantity: Decimal
    filled: Decimal
    limit_price: Decimal | None
    trigger_price: Decimal | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class OwnTrade:
    """A fill of an order of this account."""

    trade_id: str
    exchange_id: str  # of the order
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str  # empty if the exchange does not say; the fee is 0 then
    is_maker: bool
    event_ms: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one asset; `total` includes what open orders have locked."""

    total: Decimal
    free: Decimal


@dataclass(frozen=True, slots=True)
class Transfer:
    """A deposit or withdrawal that has taken effect; `amount` is signed, the withdrawal's fee included."""

    reference: str
    asset: str
    amount: Decimal
    event_ms: int


class Trading(Protocol):
    """Private requests to one exchange, each sent once.

    Every method raises `ExchangeRefusedError` if the exchange has definitely refused, `BackOffError` if nothing
    was sent or it was refused for the rate limit, and `RetryError` if the answer was lost or makes no sense:
    of an order nobody knows then whether it was carried out.
    """

    def keeps_stops(self, symbol: str) -> bool:
        """Whether the exchange itself keeps stop orders in this market."""
        ...

    async def place(self, placement: Placement) -> ExchangeOrder | None:
        """Post an order; None if the exchange took it without telling more than that."""
        ...

    async def cancel(self, symbol: str, client_id: str, exchange_id: str) -> None:
        """Ask for a cancellation; `OrderGoneError` if the exchange says that there is no such open order.

        That is no proof: after a lost answer the request may have been repeated on the way. Ask `order`.
        """
        ...

    async def order(self, symbol: str, client_id: str, exchange_id: str) -> ExchangeOrder | None:
        """Look one order up, open or not; `exchange_id` may be empty. None: the exchange says it has none."""
        ...

    async def open_orders(self, symbol: str) -> list[ExchangeOrder]:
        """All open orders of a market, other people's too."""
        ...

    async def trades(self, symbol: str, since_ms: int) -> list[OwnTrade]:
        """Fills from `since_ms` on, all pages, oldest first, those of other people's orders too."""
        ...

    async def trades_of(self, symbol: str, exchange_id: str, since_ms: int) -> list[OwnTrade]:
        """Fills of one order, oldest first."""
        ...

    async def balances(self) -> Mapping[str, Balance]:
        """Assets with anything in them."""
        ...

    async def transfers(self, since_ms: int) -> list[Transfer]:
        """Deposits and withdrawals from `since_ms` on, oldest first."""
        ...

    async def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Bid and ask, read by REST now."""
        ...

    def exchange_ms(self) -> int:
        """The exchange's time, Unix ms."""
        ...
