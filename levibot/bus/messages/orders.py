"""Orders and what becomes of them (DEALER → ROUTER of the broker)."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from levibot.bus.messages.base import Message, MoneyMessage, OrderKind, RiskState, Role, Side, TimeInForce
from levibot.bus.messages.risk import Grant

FundsKind = Literal["opening", "deposit", "withdrawal", "correction"]


class Intent(MoneyMessage, frozen=True):
    """An order that an engine has journaled and wants carried out, exactly once."""

    client_id: str
    symbol: str
    side: Side
    kind: OrderKind
    quantity: Decimal
    role: Role
    event_ms: int
    reduce_only: bool = False
    limit_price: Decimal | None = None
    post_only: bool = False
    trigger_price: Decimal | None = None  # of a stop or take-profit order
    trailing_offset: Decimal | None = None
    stop_loss: Decimal | None = None  # protection that the broker places for each fill of an entry
    take_profit: Decimal | None = None
    parent_id: str | None = None  # the entry that a protective order belongs to
    market_seq: int = 0  # newest tick that the engine had seen; the broker fills on none older
    grant: Grant | None = None
    market_epoch: int = 0  # of that tick
    time_in_force: TimeInForce = "gtc"  # of a limit order; "ioc": what does not fill at once is cancelled
    oco: str = ""  # orders of the symbol with the same text cancel each other once one is filled
    trailing_stop: Decimal | None = None  # price distance of a trailing stop that the broker places for each fill
    reason: str = ""  # of an order that an operator has made: who, and why


class Fill(MoneyMessage, frozen=True):
    fill_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Literal["maker", "taker"]


class OrderMessage(Message, frozen=True):
    """Base of order events. `seq` counts all events of the broker, `symbol_seq` those of the symbol."""

    seq: int
    symbol_seq: int
    symbol: str
    client_id: str
    event_ms: int  # market time
    recorded_ms: int  # wall time


class OrderSubmitted(OrderMessage, frozen=True, tag=True):
    """The broker has journaled the order. Carries all of it: stops are orders that no engine sent."""

    intent: Intent


class OrderSent(OrderMessage, frozen=True, tag=True):
    """Journaled before the order is posted to an exchange: from now on it may exist there.

    `quantity` is what is posted: a sale on spot sells what is left after fees and other fills.
    """

    quantity: Decimal


class OrderAccepted(OrderMessage, frozen=True, tag=True):
    exchange_id: str  # empty: it rests in the broker, which watches the price


class OrderUpdated(OrderMessage, frozen=True, tag=True):
    """A resting order has other terms: a trailing stop has moved, a stop was sized to a fill."""

    quantity: Decimal
    trigger_price: Decimal | None


class OrderTriggered(OrderMessage, frozen=True, tag=True):
    """The price has reached a stop or target that rests in the broker; it is sent next."""

    price: Decimal


class OrderPartiallyFilled(OrderMessage, frozen=True, tag=True):
    fill: Fill


class OrderFilled(OrderMessage, frozen=True, tag=True):
    fill: Fill


class OrderCancelled(OrderMessage, frozen=True, tag=True):
    reason: str


class OrderDenied(OrderMessage, frozen=True, tag=True):
    """Refused before it reached the exchange."""

    reason: str


class OrderRejected(OrderMessage, frozen=True, tag=True):
    """Definitely refused by the exchange."""

    reason: str


class OrderUnknown(OrderMessage, frozen=True, tag=True):
    """The answer was lost: to be resolved by asking, never by sending again."""

    reason: str


class FundingPaid(OrderMessage, frozen=True, tag=True):
    """Funding of a swap position; `client_id` is empty."""

    amount: Decimal  # what the quote balance gained
    rate: Decimal
    mark_price: Decimal


class FundsMoved(OrderMessage, frozen=True, tag=True):
    """A balance changed, and no order of ours did it; `symbol` and `client_id` are empty."""

    asset: str
    amount: Decimal  # signed
    kind: FundsKind
    reference: str  # the exchange's id of the transfer, or an explanation


OrderEvent = (
    OrderSubmitted
    | OrderSent
    | OrderAccepted
    | OrderUpdated
    | OrderTriggered
    | OrderPartiallyFilled
    | OrderFilled
    | OrderCancelled
    | OrderDenied
    | OrderRejected
    | OrderUnknown
    | FundingPaid
    | FundsMoved
)
TERMINAL = (OrderFilled, OrderCancelled, OrderDenied, OrderRejected)


class Position(MoneyMessage, frozen=True):
    """Signed base quantity and its average entry price."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    realized_pnl: Decimal


class SubmitOrder(Message, frozen=True, tag=True):
    intent: Intent


class CancelOrder(Message, frozen=True, tag=True):
    symbol: str
    client_id: str


class ReconcileRequest(Message, frozen=True, tag=True):
    """An engine (re)connects: it wants all events after `since`, and the fate of its open orders.

    The broker refuses for ever any of `open_ids` that it does not know, so an intent lost on the way
    cannot arrive later.
    """

    request_id: int
    symbol: str
    since: int  # symbol_seq
    open_ids: list[str]


class AccountRequest(Message, frozen=True, tag=True):
    """The supervisor follows the whole account: events after `since`, or a snapshot if it is None."""

    request_id: int
    since: int | None


class SetTradingState(Message, frozen=True, tag=True):
    """The supervisor's word on new risk, told at each change and to each new broker.

    Anything but ACTIVE: no entry is taken, and those that rest are cancelled; stops and targets stay.
    Answered with `TradingStateReport`; to be sent again until that says that no entry is left.
    """

    request_id: int
    state: RiskState
    reason: str


class FlattenPositions(Message, frozen=True, tag=True):
    """Close positions with reduce-only limit IOC orders, priced from a fresh book in a widening collar.

    Answered with `FlattenReport` at once; to be sent again, harmlessly, until nothing is left.
    """

    request_id: int
    symbols: list[str]  # empty: all
    reason: str


class SettlePosition(MoneyMessage, frozen=True, tag=True):
    """An operator declares what the exchange has less than the books as sold by hand, or as spent elsewhere.

    Answered with `SettleReport`. To be sent once: if the answer is lost, the position tells what became of it.
    """

    request_id: int
    symbol: str
    price: Decimal | None  # None: the newest, as far as the exchange shows proceeds; 0: lost or withdrawn
    reason: str  # who, and why


BrokerRequest = (
    SubmitOrder
    | CancelOrder
    | ReconcileRequest
    | AccountRequest
    | SetTradingState
    | FlattenPositions
    | SettlePosition
)


class Reconciled(Message, frozen=True, tag=True):
    request_id: int
    symbol: str
    symbol_seq: int  # last event of the symbol
    events: list[OrderEvent]  # those after `since`, oldest first; many come in parts, to be asked for one by one
    position: Position
    open_orders: list[Intent]  # resting orders of the symbol, protective ones too
    unknown_ids: list[str]  # of `open_ids`: never arrived, and now never will


class NotReady(Message, frozen=True, tag=True):
    """The broker is still recovering, or has no data for the symbol: ask again."""

    request_id: int
    reason: str


class AccountSnapshot(MoneyMessage, frozen=True, tag=True):
    request_id: int
    seq: int  # last event counted in
    cash: Decimal
    quote: str
    positions: list[Position]
    open_orders: list[Intent]
    balances: dict[str, Decimal] = msgspec.field(default_factory=dict)  # other assets that fees were paid in
    funds: dict[str, Decimal] = msgspec.field(default_factory=dict)  # paid in less paid out, ever, by asset
    exchange_orders: list[str] = msgspec.field(default_factory=list)  # client ids; the others rest in the broker


class TradingStateReport(Message, frozen=True, tag=True):
    request_id: int
    state: RiskState  # that is in force
    entries_left: list[str]  # client ids of entries that are not cancelled yet


class FlattenReport(Message, frozen=True, tag=True):
    request_id: int
    left: dict[str, str]  # symbol → what hinders, or which attempt is under way; empty: all is closed
    dust: dict[str, str]  # symbol → quantity that is too small to be sold


class SettleReport(MoneyMessage, frozen=True, tag=True):
    request_id: int
    refused: str  # why nothing was booked; empty: it was
    booked: str = ""  # what was, for people


class OrderEvents(Message, frozen=True, tag=True):
    """Events as they happen, and the answer to a request for those since N."""

    events: list[OrderEvent]


BrokerReply = (
    Reconciled | NotReady | AccountSnapshot | OrderEvents | TradingStateReport | FlattenReport | SettleReport
)
