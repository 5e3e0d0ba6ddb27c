"""Trading on one account through ccxt: each request is sent once, and each answer is looked at first."""

from __future__ import annotations

import decimal
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from levibot.errors import (
    ConfigError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    MalformedAnswerError,
    OrderGoneError,
)
from levibot.exchange.budget import WeightClass
from levibot.exchange.credentials import Credentials
from levibot.exchange.failures import answer_of
from levibot.exchange.key_permissions import examine_key
from levibot.exchange.own_data import (
    read_balances,
    read_cancelled,
    read_order,
    read_orders,
    read_own_trades,
    read_prices,
    read_transfers,
)
from levibot.exchange.own_trades import fetch_order_trades, fetch_since
from levibot.exchange.private_building import build_private
from levibot.exchange.private_quirks import PrivateQuirks, private_quirks_of
from levibot.exchange.session import ExchangeSession
from levibot.exchange.trading import Balance, ExchangeOrder, OwnTrade, Placement, Transfer

T = TypeVar("T")

_NEEDED = {  # ccxt's word for having it → what for
    "createOrder": "send orders",
    "cancelOrder": "cancel orders",
    "fetchOrder": "look an order up",
    "fetchOpenOrders": "list open orders",
    "fetchMyTrades": "list own trades",
    "fetchBalance": "read balances",
}
_ENDED = {  # ccxt's word for having it → its method, best first: some lists of closed orders lack the cancelled
    "fetchCanceledAndClosedOrders": "fetch_canceled_and_closed_orders",
    "fetchOrders": "fetch_orders",
    "fetchClosedOrders": "fetch_closed_orders",
}
_CLIENT_ID = re.compile(r"[A-Za-z0-9-]{1,32}")  # what all exchanges take
_ALREADY_THERE = re.compile(r"duplicat|repeat|already exist", re.IGNORECASE)
_SERVER_FAILED = 500  # from this status of HTTP on a refusal is none: what failed may have come after the order
_SOUGHT_MS = 86_400_000  # how long ago an order may have been made that is sought in lists
_TRANSFER_WINDOW_MS = 80 * 86_400_000  # 90 days are the most that exchanges take
_TRANSFER_OVERLAP_MS = 7 * 86_400_000  # a deposit counts when it arrives, and is listed by when it was seen


class PrivateTrading:
    """`levibot.exchange.trading.Trading` on one account; see there for what each method raises.

    ``await open()`` once, ``await close()`` in the end, before the session's. The key is held by a ccxt object of
    its own beside the session's, which goes on without one, and whose numbers are texts, so that money never is
    a binary float.

    Parameters
    ----------
    session
        An open session with the exchange.
    credentials
        Key of the account.
    """

    def __init__(self, session: ExchangeSession, credentials: Credentials) -> None:
        self._session = session
        self._credentials = credentials
        self._quirks: PrivateQuirks = private_quirks_of(session.id)
        self._made: Any = None

    async def open(self) -> None:
        """Make the ccxt object that holds the key; nothing is sent.

        Raises
        ------
        ConfigError
            If the exchange cannot be traded on, or the key lacks a part.
        """
        self._made = build_private(self._session, self._credentials)
        has = self._made.has
        missing = [purpose for name, purpose in _NEEDED.items() if not has.get(name)]
        if not self._quirks.finds_by_client_id and not any(map(has.get, _ENDED)):
            missing.append("find an order whose answer was lost")
        if missing:
            raise ConfigError(
                f"{self._session.id} cannot be traded on: ccxt cannot {', '.join(missing)} there; "
                'choose another exchange, or mode = "paper"'
            )
        self._made.open()
        # By itself aiohttp sends a DELETE again whose answer was lost: then a cancellation is refused that worked.
        self._made.session._retry_connection = False

    async def examine_key(self) -> list[str]:
        """Ask what the key may do, as far as the exchange tells; returns what the operator should know.

        Raises
        ------
        UnfitKeyError
            If it may withdraw, may not trade, or is none.
        RetryError, BackOffError
            If nobody knows now.
        """
        return await examine_key(self._ask, self._session.id, self._credentials)

    async def close(self) -> None:
        """End it; no task and no socket is left."""
        if self._made is not None:
            made, self._made = self._made, None
            await self._session.end_sibling(made)

    # ------------------------------------------------------------------ orders

    def keeps_stops(self, symbol: str) -> bool:
        """Whether the exchange itself keeps stop orders in this market."""
        market = (self._made.markets or {}).get(symbol) or {}
        types = (market.get("info") or {}).get("orderTypes") or ()
        return self._quirks.stop_type is not None and self._quirks.stop_type in types

    async def place(self, placement: Placement) -> ExchangeOrder | None:
        """Post an order; None if the exchange took it without telling more than that."""
        with decimal.localcontext():  # ccxt changes how decimals are rounded, for whoever uses them next
            kind, price, params = self._check(placement)
        weight_class: WeightClass = "protective" if placement.is_protective else "order"
        try:
            found = await self._ask(
                weight_class,
                lambda made: made.create_order(
                    placement.symbol, kind, placement.side, _text(placement.quantity), price, params
                ),
            )
        except (ExchangeRefusedError, MalformedAnswerError) as error:
            raise self._verdict(error, placement) from error
        if not self._quirks.answers_orders:
            read_cancelled(found, placement.symbol, "")  # it names an order of this market
            return None
        return read_order(found, placement.symbol, placement.client_id)

    async def cancel(self, symbol: str, client_id: str, exchange_id: str) -> None:
        """Ask for a cancellation; `OrderGoneError` if the exchange says that there is no such open order."""
        number, params = await self._address(symbol, client_id, exchange_id)
        try:
            found = await self._ask("protective", lambda made: made.cancel_order(number, symbol, params))
        except (ExchangeRefusedError, MalformedAnswerError) as error:
            if self._is_gone(error):
                raise OrderGoneError(f"{client_id or exchange_id} in {symbol}: {error}") from error
            raise
        read_cancelled(found, symbol, exchange_id)

    async def order(self, symbol: str, client_id: str, exchange_id: str) -> ExchangeOrder | None:
        """Look one order up, open or not; `exchange_id` may be empty. None: the exchange says it has none."""
        if not exchange_id and not self._quirks.finds_by_client_id:
            return await self._seek(symbol, client_id)
        number, params = await self._address(symbol, client_id, exchange_id)
        try:
            found = await self._ask("protective", lambda made: made.fetch_order(number, symbol, params))
        except (ExchangeRefusedError, MalformedAnswerError) as error:
            if self._is_gone(error):
                return None
            raise
        return read_order(found, symbol, client_id, exchange_id)

    async def open_orders(self, symbol: str) -> list[ExchangeOrder]:
        """All open orders of a market, other people's too."""
        found = await self._ask("protective", lambda made: made.fetch_open_orders(symbol))
        return read_orders(found, symbol)

    # ------------------------------------------------------------------ fills and money

    async def trades(self, symbol: str, since_ms: int) -> list[OwnTrade]:
        """Fills from `since_ms` on, all pages, oldest first, those of other people's orders too."""

        async def ask(since_ms: int | None, until_ms: int | None) -> list[OwnTrade]:
            params = {} if until_ms is None else {"until": until_ms}
            limit = self._quirks.trades_page
            found = await self._ask(
                "protective", lambda made: made.fetch_my_trades(symbol, since_ms, limit, params)
            )
            return read_own_trades(found, symbol)

        return await fetch_since(ask, since_ms, self.exchange_ms(), self._quirks)

    async def trades_of(self, symbol: str, exchange_id: str, since_ms: int) -> list[OwnTrade]:
        """Fills of one order, oldest first."""

        async def ask(since_ms: int | None, params: Mapping[str, Any]) -> list[OwnTrade]:
            limit, wanted = self._quirks.trades_page, {"orderId": exchange_id, **params}
            found = await self._ask(
                "protective", lambda made: made.fetch_my_trades(symbol, since_ms, limit, wanted)
            )
            return read_own_trades(found, symbol, exchange_id)

        if self._quirks.trades_by_order:
            return await fetch_order_trades(ask, since_ms, self._quirks)
        return [trade for trade in await self.trades(symbol, since_ms) if trade.exchange_id == exchange_id]

    async def balances(self) -> Mapping[str, Balance]:
        """Assets with anything in them."""
        return read_balances(await self._ask("protective", lambda made: made.fetch_balance()))

    async def transfers(self, since_ms: int) -> list[Transfer]:
        """Deposits and withdrawals from `since_ms` on, oldest first; none where ccxt cannot ask for them."""
        told: dict[str, Transfer] = {}
        starts = list(range(max(0, since_ms - _TRANSFER_OVERLAP_MS), self.exchange_ms(), _TRANSFER_WINDOW_MS))
        for kind, name in (("deposit", "fetchDeposits"), ("withdrawal", "fetchWithdrawals")):
            for start_ms in starts if self._made.has.get(name) else ():
                until_ms = None if start_ms == starts[-1] else start_ms + _TRANSFER_WINDOW_MS - 1
                found = await self._ask("protective", _transfers_request(kind, start_ms, until_ms))
                told |= {row.reference: row for row in read_transfers(found, kind)}
        return sorted((row for row in told.values() if row.event_ms >= since_ms), key=lambda row: row.event_ms)

    async def best_prices(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Bid and ask, read by REST now."""
        if not self._made.has.get("fetchBidsAsks"):
            found = await self._ask("protective", lambda made: made.fetch_ticker(symbol))
            return read_prices({symbol: found}, symbol)
        params = {"symbol": self._made.market(symbol)["id"]} if self._quirks.prices_by_id else {}
        found = await self._ask("protective", lambda made: made.fetch_bids_asks([symbol], params))
        return read_prices(found, symbol)

    def exchange_ms(self) -> int:
        """The exchange's time, Unix ms."""
        return self._session.exchange_ms()

    # ------------------------------------------------------------------ within

    async def _ask(self, weight_class: WeightClass, request: Callable[[Any], Awaitable[T]]) -> T:
        made = self._made
        if made is None:
            raise ExchangeUnavailableError(f"{self._session.id}: trading is not open")
        if made.has.get("fetchTime"):
            made.options["timeDifference"] = self._session.skew_ms
        try:
            with decimal.localcontext():
                return await self._session.call(weight_class, lambda _: request(made))
        except MalformedAnswerError as error:
            answer = answer_of(error)
            if (
                answer is None
                or answer.status >= _SERVER_FAILED
                or not self._quirks.refused.fullmatch(answer.code)
            ):
                raise
            raise ExchangeRefusedError("request", str(error)) from error

    async def _address(self, symbol: str, client_id: str, exchange_id: str) -> tuple[str | None, dict[str, Any]]:
        """How ccxt is told which order is meant: by the exchange's own id if it is known, which all take."""
        if exchange_id:
            return exchange_id, {}
        if self._quirks.finds_by_client_id:
            return None, {"clientOrderId": client_id}
        order = await self._seek(symbol, client_id)
        if order is None:
            raise OrderGoneError(f"{client_id} in {symbol}: in no list of orders")
        return order.exchange_id, {}

    async def _seek(self, symbol: str, client_id: str) -> ExchangeOrder | None:
        """The order of that id in the lists: first of what is open, then of what has ended meanwhile."""
        ended = next(method for name, method in _ENDED.items() if self._made.has.get(name))
        since_ms = self.exchange_ms() - _SOUGHT_MS
        requests: tuple[Callable[[Any], Awaitable[Any]], ...] = (
            lambda made: made.fetch_open_orders(symbol),
            lambda made: getattr(made, ended)(symbol, since_ms),
        )
        for request in requests:
            for order in read_orders(await self._ask("protective", request), symbol):
                if order.client_id == client_id:
                    return order
        return None

    def _check(self, placement: Placement) -> tuple[str, str | None, dict[str, Any]]:
        """Type, price and parameters for ccxt; refused here is what would be sent as something else."""
        made, symbol = self._made, placement.symbol
        if not _CLIENT_ID.fullmatch(placement.client_id):
            raise ExchangeRefusedError("request", f"client id {placement.client_id!r}: letters, digits and - only")
        self._session.spec(symbol)
        _expect_exact("quantity", placement.quantity, made.amount_to_precision(symbol, _text(placement.quantity)))
        for what, price in (("limit price", placement.limit_price), ("trigger price", placement.trigger_price)):
            if price is not None:
                _expect_exact(what, price, made.price_to_precision(symbol, _text(price)))
        params: dict[str, Any] = {"clientOrderId": placement.client_id}
        if placement.kind == "market":
            return "market", None, params  # with a price some would spend a sum in place of selling a quantity
        if placement.kind == "limit" and placement.limit_price is not None:
            if placement.post_only:
                params["postOnly"] = True
            elif placement.time_in_force == "ioc":
                params["timeInForce"] = "IOC"
            return "limit", _text(placement.limit_price), params
        if placement.kind == "stop" and placement.trigger_price is not None:
            if not self.keeps_stops(symbol):
                raise ExchangeRefusedError("request", f"{self._session.id} keeps no stop orders in {symbol}")
            return "market", None, {**params, "stopLossPrice": _text(placement.trigger_price)}
        raise ExchangeRefusedError("request", f"a {placement.kind} order without its price, or of no known kind")

    def _verdict(self, error: ExchangeRefusedError | MalformedAnswerError, placement: Placement) -> Exception:
        """Whether an order was definitely refused, by what the exchange said.

        Where it says that it has this order already, it has: an answer was lost, and the request came twice.
        """
        answer = answer_of(error)
        if answer is None:
            return error
        if answer.status >= _SERVER_FAILED or _ALREADY_THERE.search(answer.text) or self._is_gone(error):
            return MalformedAnswerError(f"{placement.client_id} may be there: {error}")
        return error

    def _is_gone(self, error: ExchangeRefusedError | MalformedAnswerError) -> bool:
        answer = answer_of(error)
        if answer is None or answer.status >= _SERVER_FAILED:
            return False
        named = isinstance(error, ExchangeRefusedError) and error.reason == "not found"
        return named or self._quirks.gone.fullmatch(answer.code) is not None


def _transfers_request(kind: str, since_ms: int, until_ms: int | None) -> Callable[[Any], Awaitable[Any]]:
    params = {} if until_ms is None else {"endTime": until_ms}
    if kind == "deposit":
        return lambda made: made.fetch_deposits(None, since_ms, None, params)
    return lambda made: made.fetch_withdrawals(None, since_ms, None, params)


def _text(number: Decimal) -> str:
    return format(number, "f")


def _expect_exact(what: str, number: Decimal, sent: str) -> None:
    if Decimal(sent) != number:
        raise ExchangeRefusedError("request", f"{what} {number}: the market's step would make {sent} of it")
