"""What the dialects of Binance and MEXC have in common: their REST v3 interfaces are cousins."""

from __future__ import annotations

import hashlib
import hmac
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, cast

from tests.exchange.accounts import Account, Fill, Order, OrderRequest, Reason, RejectedError, Transfer
from tests.exchange.market import SymbolMarket
from tests.exchange.model import DAY_MS, Instrument, Kind, MarketEvent, Side
from tests.exchange.sockets import Connection, Encoded

if TYPE_CHECKING:
    from tests.exchange.server import Exchange

MOST_MS = 90 * DAY_MS  # of transfers in one answer
Access = Literal["public", "key", "signed"]
AuthProblem = Literal["no key", "bad key", "signature", "ahead", "late", "permission"]


class ApiError(Exception):
    """An answer that is an error in the dialect's own form: by default that of Binance."""

    def __init__(self, status: int, code: int, message: str, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "msg": message} if body is None else body


@dataclass
class Call:
    """One request, its parameters and who makes it."""

    params: dict[str, str]
    signed_text: str = ""
    key: str | None = None
    account: Account | None = field(default=None)

    def need(self, name: str) -> str:
        value = self.params.get(name)
        if not value:
            raise RejectedError(Reason.BAD_PARAMETER, name)
        return value

    def whole(self, name: str) -> int | None:
        value = self.params.get(name)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise RejectedError(Reason.BAD_PARAMETER, name) from None

    def decimal(self, name: str) -> Decimal | None:
        value = self.params.get(name)
        if value is None:
            return None
        try:
            return Decimal(value)
        except InvalidOperation:
            raise RejectedError(Reason.BAD_PARAMETER, name) from None

    @property
    def owner(self) -> Account:
        assert self.account is not None
        return self.account


@dataclass(frozen=True)
class Route:
    """What a path costs, who may ask, and what answers."""

    weight: int
    access: Access
    answer: Callable[[Call], Any]


class Dialect(ABC):
    """One exchange's words for the common model."""

    name: str
    key_header: str
    page: int
    """Most bars in one answer."""
    max_streams: int
    weight_limit: int
    weight_window_s: int
    idle_s: float = math.inf
    """Seconds without a message in either direction after which a connection is closed."""
    symbol_parameter = "symbol"
    """The parameter of a request that says which market is meant."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.market = exchange.market
        self.clock = exchange.clock
        self.states = {self.market_id(state.instrument): state for state in exchange.market.symbols.values()}
        self.routes: dict[tuple[str, str], Route] = self.make_routes()

    @abstractmethod
    def make_routes(self) -> dict[tuple[str, str], Route]: ...

    @abstractmethod
    def refusal(self, error: RejectedError) -> ApiError:
        """The error that this exchange gives for that reason."""

    @abstractmethod
    def auth_error(self, what: AuthProblem) -> ApiError: ...

    @abstractmethod
    def too_many(self, status: int, retry_after_s: int) -> ApiError: ...

    @abstractmethod
    def is_socket(self, path: str) -> bool: ...

    @abstractmethod
    def channel(self, stream: str) -> tuple[Kind, str] | None:
        """What a public stream name means; None: no such stream."""

    @abstractmethod
    def encode(self, stream: str, event: MarketEvent) -> Encoded | None: ...

    @abstractmethod
    def opened(self, connection: Connection) -> None: ...

    @abstractmethod
    def received(self, connection: Connection, text: str) -> None:
        """A text message came from a client."""

    @abstractmethod
    def tell_order(self, account: Account, order: Order, fill: Fill | None) -> None: ...

    @abstractmethod
    def tell_balances(self, account: Account, assets: tuple[str, ...]) -> None: ...

    def weight_headers(self, used: int) -> dict[str, str]:
        return {}

    def market_id(self, rules: Instrument) -> str:
        """How requests name a market."""
        return rules.id

    def heartbeat(self) -> Encoded | None:
        """What a connection with subscriptions is sent each second; None: nothing."""
        return None

    # ------------------------------------------------------------------ requests

    def state(self, call: Call) -> SymbolMarket:
        state = self.states.get(call.need(self.symbol_parameter))
        if state is None or state.status == "delisted":
            raise RejectedError(Reason.BAD_SYMBOL)
        return state

    def authorise(self, route: Route, call: Call) -> None:
        """Check key, time and signature as the real one does."""
        if route.access == "public":
            return
        if not call.key:
            raise self.auth_error("no key")
        call.account = next((a for a in self.exchange.accounts if a.key == call.key), None)
        if call.account is None:
            raise self.auth_error("bad key")
        if route.access == "signed":
            self.check_signature(call.account, call.params, call.signed_text)

    def check_signature(self, account: Account, params: dict[str, str], signed: str) -> None:
        try:
            sent_ms = int(params["timestamp"])
        except (KeyError, ValueError):
            raise self.refusal(RejectedError(Reason.BAD_PARAMETER, "timestamp")) from None
        now_ms = self.clock.stamp_ms()
        if sent_ms > now_ms + 1000 * self.clock.inexactness:
            raise self.auth_error("ahead")
        if now_ms - sent_ms > int(params.get("recvWindow", 5000)):
            raise self.auth_error("late")
        expected = hmac.new(account.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, params.get("signature", "")):
            raise self.auth_error("signature")

    def page_of(self, call: Call, default: int) -> int:
        return max(1, min(call.whole("limit") or default, self.page))

    # ------------------------------------------------------------------ account

    def transfers(self, call: Call, *, deposits: bool) -> list[Transfer]:
        """Those of an account that a call asks for, oldest first."""
        now_ms = self.clock.server_ms()
        start_ms = call.whole("startTime") or now_ms - MOST_MS
        end_ms = call.whole("endTime") or now_ms
        if end_ms - start_ms > MOST_MS:
            raise RejectedError(Reason.BAD_PARAMETER, "startTime")
        return [
            transfer
            for transfer in call.owner.transfers
            if transfer.is_deposit == deposits and start_ms <= transfer.time_ms <= end_ms
        ]

    # ------------------------------------------------------------------ orders

    def find_order(self, call: Call) -> Order | None:
        order_id = call.params.get("orderId")
        client_id = call.params.get("origClientOrderId")
        if not order_id and not client_id:
            raise RejectedError(Reason.BAD_PARAMETER, "orderId")
        number = self.order_number(order_id) if order_id else None
        if order_id and number is None:
            return None
        return call.owner.order(number, client_id)

    def order_number(self, order_id: str) -> int | None:
        return int(order_id) if order_id.isdigit() else None

    def side(self, call: Call) -> Side:
        side = call.need("side").lower()
        if side not in ("buy", "sell"):
            raise RejectedError(Reason.BAD_PARAMETER, "side")
        return cast(Side, side)

    def place(self, call: Call, request: OrderRequest) -> Order:
        if not call.owner.can_trade:
            raise self.auth_error("permission")
        return self.exchange.matching.place(call.owner, request)
