"""The dialect of Binance spot."""

from __future__ import annotations

import re
import secrets
from typing import Any, cast

from tests.exchange import binance_format
from tests.exchange.accounts import OrderRequest, OrderType, Reason, RejectedError, TimeInForce
from tests.exchange.binance_sockets import BinanceSockets
from tests.exchange.dialect import ApiError, AuthProblem, Call, Route
from tests.exchange.model import DAY_MS, Bar, text
from tests.exchange.v3_format import TYPES

REFUSALS: dict[Reason, tuple[int, str]] = {
    Reason.BAD_SYMBOL: (-1121, "Invalid symbol."),
    Reason.MARKET_CLOSED: (-1013, "Market is closed."),
    Reason.BAD_PARAMETER: (-1102, "Mandatory parameter '{}' was not sent, was empty/null, or malformed."),
    Reason.LOT_SIZE: (-1013, "Filter failure: LOT_SIZE"),
    Reason.PRICE_FILTER: (-1013, "Filter failure: PRICE_FILTER"),
    Reason.NOTIONAL: (-1013, "Filter failure: NOTIONAL"),
    Reason.INSUFFICIENT: (-2010, "Account has insufficient balance for requested action."),
    Reason.WOULD_TAKE: (-2010, "Order would immediately match and take."),
    Reason.WOULD_TRIGGER: (-2010, "Stop price would trigger immediately."),
    Reason.DUPLICATE: (-2010, "Duplicate order sent."),
    Reason.UNKNOWN_CANCEL: (-2011, "Unknown order sent."),
    Reason.NO_SUCH_ORDER: (-2013, "Order does not exist."),
    Reason.NO_OPPONENT: (-2010, "This symbol has no liquidity."),
}
CLIENT_ID = re.compile(r"^[a-zA-Z0-9-_]{1,36}$")
WEIGHTS = {
    "exchangeInfo": 20,
    "depth": 5,
    "klines": 2,
    "trades": 25,
    "historicalTrades": 25,
    "aggTrades": 4,
    "ticker/24hr": 2,
    "ticker/price": 2,
    "ticker/bookTicker": 2,
}


class Binance(BinanceSockets):
    """REST: market data, account, orders."""

    name = "binance"
    key_header = "X-MBX-APIKEY"
    page = 1000
    max_streams = 1024
    weight_limit = 6000
    weight_window_s = 60
    trade_ids = True

    def make_routes(self) -> dict[tuple[str, str], Route]:
        v3 = "/api/v3"
        return {
            **self.public_routes(WEIGHTS),
            ("GET", f"{v3}/account"): Route(20, "signed", self.account),
            ("POST", f"{v3}/order"): Route(1, "signed", self.new_order),
            ("POST", f"{v3}/order/test"): Route(1, "signed", lambda call: {}),
            ("GET", f"{v3}/order"): Route(4, "signed", self.get_order),
            ("DELETE", f"{v3}/order"): Route(1, "signed", self.cancel),
            ("POST", f"{v3}/orderList/oco"): Route(1, "signed", self.new_pair),
            ("GET", f"{v3}/openOrders"): Route(6, "signed", self.open_orders),
            ("DELETE", f"{v3}/openOrders"): Route(1, "signed", self.cancel_all),
            ("GET", f"{v3}/allOrders"): Route(20, "signed", self.all_orders),
            ("GET", f"{v3}/myTrades"): Route(20, "signed", self.my_trades),
            ("POST", f"{v3}/userDataStream"): Route(2, "key", lambda call: {"listenKey": secrets.token_hex(30)}),
            ("PUT", f"{v3}/userDataStream"): Route(2, "key", lambda call: {}),
            ("DELETE", f"{v3}/userDataStream"): Route(2, "key", lambda call: {}),
            ("GET", "/sapi/v1/account/apiRestrictions"): Route(1, "signed", self.restrictions),
            ("GET", "/sapi/v1/capital/deposit/hisrec"): Route(1, "signed", self.deposits),
            ("GET", "/sapi/v1/capital/withdraw/history"): Route(1, "signed", self.withdrawals),
        }

    def weight_headers(self, used: int) -> dict[str, str]:
        return {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}

    # ------------------------------------------------------------------ errors

    def refusal(self, error: RejectedError) -> ApiError:
        code, words = REFUSALS[error.reason]
        return ApiError(400, code, words.format(error.detail))

    def auth_error(self, what: AuthProblem) -> ApiError:
        refused = "Invalid API-key, IP, or permissions for action."
        status, code, words = {
            "no key": (401, -2014, "API-key format invalid."),
            "bad key": (401, -2015, refused),
            "permission": (401, -2015, refused),
            "signature": (400, -1022, "Signature for this request is not valid."),
            "ahead": (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time."),
            "late": (400, -1021, "Timestamp for this request is outside of the recvWindow."),
        }[what]
        return ApiError(status, code, words)

    def too_many(self, status: int, retry_after_s: int) -> ApiError:
        if status == 418:
            until = self.clock.server_ms() + retry_after_s * 1000
            return ApiError(418, -1003, f"Way too much request weight used; IP banned until {until}.")
        limit = self.exchange.limit.limit
        return ApiError(
            429, -1003, f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
        )

    # ------------------------------------------------------------------ market data

    def exchange_info(self, call: Call) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self.clock.server_ms(),
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": self.exchange.limit.limit,
                }
            ],
            "exchangeFilters": [],
            "symbols": [
                binance_format.instrument(state)
                for state in self.market.symbols.values()
                if state.status != "delisted"
            ],
        }

    def trades(self, call: Call) -> list[dict[str, Any]]:
        """It takes no time, and refuses one as it refuses every parameter that it does not know."""
        _refuse_others(call, "symbol", "limit", "fromId")
        return super().trades(call)

    def kline(self, bar: Bar) -> list[Any]:
        return [*super().kline(bar), bar.trades, text(bar.taker_buys), "0", "0"]

    # ------------------------------------------------------------------ account

    def account(self, call: Call) -> dict[str, Any]:
        owner = call.owner
        return {
            "makerCommission": int(owner.maker * 10_000),
            "takerCommission": int(owner.taker * 10_000),
            "canTrade": owner.can_trade,
            "canWithdraw": True,
            "canDeposit": True,
            "accountType": "SPOT",
            "updateTime": self.clock.server_ms(),
            "permissions": ["SPOT"],
            "balances": [
                {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
                for asset, balance in owner.balances.items()
            ],
        }

    def restrictions(self, call: Call) -> dict[str, Any]:
        """What this key may do; the account's own canWithdraw says nothing of the key."""
        return {
            "ipRestrict": call.owner.tied_to_address,
            "createTime": self.clock.started_ms,
            "enableReading": True,
            "enableWithdrawals": call.owner.can_withdraw,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": False,
            "enableSpotAndMarginTrading": call.owner.can_trade,
        }

    def deposits(self, call: Call) -> list[dict[str, Any]]:
        return [binance_format.deposit(transfer) for transfer in reversed(self.transfers(call, deposits=True))]

    def withdrawals(self, call: Call) -> list[dict[str, Any]]:
        return [binance_format.withdrawal(transfer) for transfer in reversed(self.transfers(call, deposits=False))]

    # ------------------------------------------------------------------ orders

    def request(self, call: Call) -> OrderRequest:
        order_type = TYPES.get(call.need("type"))
        if order_type is None:
            raise RejectedError(Reason.BAD_PARAMETER, "type")
        in_force = call.params.get("timeInForce", "GTC")
        if in_force not in ("GTC", "IOC", "FOK"):
            raise RejectedError(Reason.BAD_PARAMETER, "timeInForce")
        return OrderRequest(
            self.state(call).instrument.symbol,
            self.side(call),
            cast(OrderType, order_type),
            call.decimal("quantity"),
            call.decimal("quoteOrderQty"),
            call.decimal("price"),
            call.decimal("stopPrice"),
            cast(TimeInForce, in_force),
            self.client_id(call, "newClientOrderId"),
        )

    @staticmethod
    def client_id(call: Call, name: str) -> str | None:
        given = call.params.get(name)
        if given is not None and not CLIENT_ID.match(given):
            raise ApiError(
                400,
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is '{CLIENT_ID.pattern}'.",
            )
        return given

    def new_order(self, call: Call) -> dict[str, Any]:
        order = self.place(call, self.request(call))
        return binance_format.placed(order, call.params["symbol"])

    def new_pair(self, call: Call) -> dict[str, Any]:
        """One cancels the other: a leg above the price and one below."""
        legs = []
        for where in ("above", "below"):
            leg = {
                "symbol": call.need("symbol"),
                "side": call.need("side"),
                "quantity": call.need("quantity"),
                "type": call.need(f"{where}Type"),
                "timeInForce": call.params.get(f"{where}TimeInForce", "GTC"),
            }
            given_as = {"price": "Price", "stopPrice": "StopPrice", "newClientOrderId": "ClientOrderId"}
            for name, given in given_as.items():
                value = call.params.get(where + given)
                if value is not None:
                    leg[name] = value
            legs.append(self.request(Call(leg)))
        orders = self.exchange.matching.place_pair(call.owner, *legs)
        market_id = call.params["symbol"]
        return {
            "orderListId": orders[0].list_id,
            "contingencyType": "OCO",
            "listStatusType": "EXEC_STARTED",
            "listOrderStatus": "EXECUTING",
            "symbol": market_id,
            "transactionTime": orders[0].created_ms,
            "orders": [
                {"symbol": market_id, "orderId": order.id, "clientOrderId": order.client_id} for order in orders
            ],
            "orderReports": [binance_format.placed(order, market_id) for order in orders],
        }

    def get_order(self, call: Call) -> dict[str, Any]:
        self.state(call)
        order = self.find_order(call)
        if order is None:
            raise RejectedError(Reason.NO_SUCH_ORDER)
        return binance_format.order(order, call.params["symbol"])

    def cancel(self, call: Call) -> dict[str, Any]:
        self.state(call)
        order = self.exchange.matching.cancel(call.owner, self.find_order(call))
        ids = {"origClientOrderId": order.client_id, "clientOrderId": secrets.token_hex(11)}
        return binance_format.order(order, call.params["symbol"]) | ids

    def cancel_all(self, call: Call) -> list[dict[str, Any]]:
        symbol = self.state(call).instrument.symbol
        orders = call.owner.open_orders(symbol)
        if not orders:
            raise RejectedError(Reason.UNKNOWN_CANCEL)
        for order in orders:
            if order.open:
                self.exchange.matching.cancel(call.owner, order)
        return [binance_format.order(order, call.params["symbol"]) for order in orders]

    def open_orders(self, call: Call) -> list[dict[str, Any]]:
        symbol = self.state(call).instrument.symbol if "symbol" in call.params else None
        return [
            binance_format.order(order, self.market.symbols[order.symbol].instrument.id)
            for order in call.owner.open_orders(symbol)
        ]

    def all_orders(self, call: Call) -> list[dict[str, Any]]:
        state = self.state(call)
        since = call.whole("startTime") or 0
        found = [
            order
            for order in call.owner.orders.values()
            if order.symbol == state.instrument.symbol and order.created_ms >= since
        ]
        return [binance_format.order(order, state.instrument.id) for order in found[-self.page_of(call, 500) :]]

    def my_trades(self, call: Call) -> list[dict[str, Any]]:
        """From a time or a number on the oldest, else the newest; a time spans a day at most."""
        state = self.state(call)
        start_ms, end_ms, from_id = call.whole("startTime"), call.whole("endTime"), call.whole("fromId")
        order_id = call.whole("orderId")
        if start_ms is not None:
            end_ms = start_ms + DAY_MS if end_ms is None else end_ms
            if end_ms - start_ms > DAY_MS:
                raise ApiError(400, -1127, "More than 24 hours between startTime and endTime.")
        found = [
            fill
            for fill in call.owner.fills
            if fill.symbol == state.instrument.symbol
            and (start_ms is None or fill.time_ms >= start_ms)
            and (end_ms is None or fill.time_ms <= end_ms)
            and (from_id is None or fill.trade_id >= from_id)
            and order_id in (None, fill.order_id)
        ]
        page = self.page_of(call, 500)
        found = found[-page:] if start_ms is None and from_id is None else found[:page]
        return [
            binance_format.fill(fill, state.instrument.id, call.owner.orders[fill.order_id].list_id)
            for fill in found
        ]


def _refuse_others(call: Call, *known: str) -> None:
    read = sum(name in known for name in call.params)
    if read < len(call.params):
        words = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(call.params)}'."
        raise ApiError(400, -1104, words)
