"""The dialect of MEXC spot."""

from __future__ import annotations

import secrets
import sys
from decimal import Decimal
from typing import Any

from tests.exchange import v3_format
from tests.exchange.accounts import Fill, Order, OrderRequest, OrderType, Reason, RejectedError, TimeInForce
from tests.exchange.dialect import ApiError, AuthProblem, Call, Route
from tests.exchange.market import SymbolMarket
from tests.exchange.mexc_sockets import MexcSockets, order_id, trade_id
from tests.exchange.model import text

REFUSALS: dict[Reason, tuple[int, str]] = {
    Reason.BAD_SYMBOL: (-1121, "Invalid symbol."),
    Reason.MARKET_CLOSED: (30016, "trading disabled"),
    Reason.BAD_PARAMETER: (700004, "Mandatory parameter '{}' was not sent, was empty/null, or malformed."),
    Reason.LOT_SIZE: (10096, "amount decimal places is too long"),
    Reason.PRICE_FILTER: (30010, "no valid trade price"),
    Reason.NOTIONAL: (30002, "The minimum transaction volume cannot be less than：5USDT"),
    Reason.INSUFFICIENT: (30004, "Insufficient position"),
    Reason.WOULD_TAKE: (30041, "current order type can not place order"),
    Reason.WOULD_TRIGGER: (30041, "current order type can not place order"),
    Reason.DUPLICATE: (603, "Repeated request"),
    Reason.UNKNOWN_CANCEL: (-2011, "Unknown order sent."),
    Reason.NO_SUCH_ORDER: (-2013, "Order does not exist."),
    Reason.NO_OPPONENT: (30025, "no exist opponent order"),
}
TYPES: dict[str, tuple[OrderType, TimeInForce]] = {
    "LIMIT": ("limit", "GTC"),
    "MARKET": ("market", "GTC"),
    "LIMIT_MAKER": ("post_only", "GTC"),
    "IMMEDIATE_OR_CANCEL": ("limit", "IOC"),
    "FILL_OR_KILL": ("limit", "FOK"),
}
OWN_TRADES_PAGE = 100
TYPE_NAMES = {value: name for name, value in TYPES.items()}
WEIGHTS = {"exchangeInfo": 10, "trades": 5, "ticker/24hr": 1}


class Mexc(MexcSockets):
    """REST: market data, account, orders."""

    name = "mexc"
    key_header = "X-MEXC-APIKEY"
    page = 500
    max_streams = 30
    weight_limit = 500
    weight_window_s = 10
    idle_s = 60.0
    trade_ids = False

    def make_routes(self) -> dict[tuple[str, str], Route]:
        v3 = "/api/v3"
        return {
            **self.public_routes(WEIGHTS),
            ("GET", "/api/v1/contract/detail"): Route(1, "public", self.no_contracts),
            ("GET", f"{v3}/capital/config/getall"): Route(10, "signed", self.currencies),
            ("GET", f"{v3}/capital/deposit/hisrec"): Route(1, "signed", self.deposits),
            ("GET", f"{v3}/capital/withdraw/history"): Route(1, "signed", self.withdrawals),
            ("GET", f"{v3}/account"): Route(10, "signed", self.account),
            ("POST", f"{v3}/order"): Route(1, "signed", self.new_order),
            ("POST", f"{v3}/order/test"): Route(1, "signed", lambda call: {}),
            ("GET", f"{v3}/order"): Route(2, "signed", self.get_order),
            ("DELETE", f"{v3}/order"): Route(1, "signed", self.cancel),
            ("GET", f"{v3}/openOrders"): Route(3, "signed", self.open_orders),
            ("DELETE", f"{v3}/openOrders"): Route(1, "signed", self.cancel_all),
            ("GET", f"{v3}/allOrders"): Route(10, "signed", self.all_orders),
            ("GET", f"{v3}/myTrades"): Route(10, "signed", self.my_trades),
            ("POST", f"{v3}/userDataStream"): Route(1, "signed", self.listen_key),
            ("PUT", f"{v3}/userDataStream"): Route(1, "signed", self.keep_listen_key),
            ("DELETE", f"{v3}/userDataStream"): Route(1, "signed", self.end_listen_key),
        }

    # ------------------------------------------------------------------ errors

    def refusal(self, error: RejectedError) -> ApiError:
        code, words = REFUSALS[error.reason]
        return ApiError(400, code, words.format(error.detail))

    def auth_error(self, what: AuthProblem) -> ApiError:
        outside = "Timestamp for this request is outside of the recvWindow."
        status, code, words = {
            "no key": (400, 700001, "API-key format invalid."),
            "bad key": (400, 10072, "Api key info invalid"),
            "permission": (400, 700007, "No permission to access the endpoint."),
            "signature": (400, 700002, "Signature for this request is not valid."),
            "ahead": (400, 700003, outside),
            "late": (400, 700003, outside),
        }[what]
        return ApiError(status, code, words)

    def too_many(self, status: int, retry_after_s: int) -> ApiError:
        return ApiError(status, 429, "Too Many Requests")

    # ------------------------------------------------------------------ market data

    def no_contracts(self, call: Call) -> dict[str, Any]:
        """The ccxt loads the markets of futures with those of spot; there are none."""
        return {"success": True, "code": 0, "data": []}

    def currencies(self, call: Call) -> list[dict[str, Any]]:
        assets = {asset for state in self.market.symbols.values() for asset in (state.instrument.base, "USDT")}
        return [{"coin": asset, "name": asset, "networkList": []} for asset in sorted(assets)]

    def exchange_info(self, call: Call) -> dict[str, Any]:
        states = [state for state in self.market.symbols.values() if state.status != "delisted"]
        return {
            "timezone": "CST",
            "serverTime": self.clock.server_ms(),
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [self._instrument(state) for state in states],
        }

    def _instrument(self, state: SymbolMarket) -> dict[str, Any]:
        rules = state.instrument
        account = self.exchange.accounts[0]
        return {
            "symbol": rules.id,
            "status": "1" if state.status == "trading" else "2",
            "baseAsset": rules.base,
            "baseAssetPrecision": _places(rules.step),
            "quoteAsset": rules.quote,
            "quotePrecision": _places(rules.tick),
            "quoteAssetPrecision": _places(rules.tick),
            "orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "quoteAmountPrecision": text(rules.min_cost),
            "baseSizePrecision": text(rules.min_amount),
            "permissions": ["SPOT"],
            "filters": [],
            "maxQuoteAmount": "2000000",
            "makerCommission": text(account.maker),
            "takerCommission": text(account.taker),
            "quoteAmountPrecisionMarket": text(rules.min_cost),
            "fullName": rules.base,
        }

    def depth(self, call: Call) -> Any:
        return super().depth(call) | {"timestamp": self.clock.market_ms()}

    # ------------------------------------------------------------------ account

    def listen_key(self, call: Call) -> dict[str, str]:
        key = secrets.token_hex(32)
        self.exchange.listen_keys[key] = call.owner
        return {"listenKey": key}

    def keep_listen_key(self, call: Call) -> dict[str, str]:
        key = call.need("listenKey")
        if key not in self.exchange.listen_keys:
            raise ApiError(400, 730002, "Invalid listen key")
        return {"listenKey": key}

    def end_listen_key(self, call: Call) -> dict[str, str]:
        key = call.need("listenKey")
        self.exchange.listen_keys.pop(key, None)
        return {"listenKey": key}

    def account(self, call: Call) -> dict[str, Any]:
        owner = call.owner
        return {
            "canTrade": owner.can_trade,
            "canWithdraw": True,  # the account, whatever the key may do
            "canDeposit": True,
            "updateTime": None,
            "accountType": "SPOT",
            "permissions": ["SPOT"],
            "balances": [
                {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
                for asset, balance in owner.balances.items()
            ],
        }

    def deposits(self, call: Call) -> list[dict[str, Any]]:
        return [
            {
                "amount": text(transfer.amount),
                "coin": f"{transfer.asset}-LOOP",
                "network": "LOOP",
                "status": 5 if transfer.done else 4,
                "address": "loopback",
                "txId": f"{transfer.id}:0",
                "insertTime": transfer.time_ms,
                "unlockConfirm": "1",
                "confirmTimes": "1",
                "memo": None,
            }
            for transfer in reversed(self.transfers(call, deposits=True))
        ]

    def withdrawals(self, call: Call) -> list[dict[str, Any]]:
        """The amount holds the fee."""
        return [
            {
                "id": transfer.id,
                "txId": None,
                "coin": f"{transfer.asset}-LOOP",
                "network": "LOOP",
                "address": "loopback",
                "amount": text(transfer.amount + transfer.fee),
                "transferType": 0,
                "status": 7 if transfer.done else 4,
                "transactionFee": text(transfer.fee),
                "confirmNo": None,
                "applyTime": transfer.time_ms,
                "remark": "",
                "memo": None,
            }
            for transfer in reversed(self.transfers(call, deposits=False))
        ]

    # ------------------------------------------------------------------ orders

    def order_number(self, order_id: str) -> int | None:
        number = order_id.removeprefix("C02__")
        return int(number) if number.isdigit() else None

    def new_order(self, call: Call) -> dict[str, Any]:
        known = TYPES.get(call.need("type"))
        if known is None:
            raise RejectedError(Reason.BAD_PARAMETER, "type")
        order_type, in_force = known
        is_market = order_type == "market"
        request = OrderRequest(
            self.state(call).instrument.symbol,
            self.side(call),
            order_type,
            call.decimal("quantity"),
            call.decimal("quoteOrderQty"),
            None if is_market else call.decimal("price"),
            None,
            in_force,
            call.params.get("newClientOrderId"),
        )
        order = self.place(call, request)
        return {
            "symbol": call.params["symbol"],
            "orderId": order_id(order.id),
            "orderListId": -1,
            "price": text(order.price or Decimal(0)),
            "origQty": text(order.amount),
            "type": call.params["type"],
            "side": order.side.upper(),
            "transactTime": order.created_ms,
        }

    def _view(self, order: Order) -> dict[str, Any]:
        status = order.status.upper()
        if order.status in ("canceled", "expired"):
            status = "PARTIALLY_CANCELED" if order.filled else "CANCELED"
        if order.status == "expired" and order.request.type == "market" and order.filled:
            status = "FILLED"
        key = (order.request.type, order.request.time_in_force)
        return {
            "symbol": self.market.symbols[order.symbol].instrument.id,
            "orderId": order_id(order.id),
            "orderListId": -1,
            "clientOrderId": order.request.client_id,
            **v3_format.amounts(order),
            "status": status,
            "timeInForce": None,
            "type": TYPE_NAMES[key],
            "side": order.side.upper(),
            "stopPrice": None,
            "icebergQty": None,
            "time": order.created_ms,
            "updateTime": order.updated_ms,
            "isWorking": True,
        }

    def get_order(self, call: Call) -> dict[str, Any]:
        self.state(call)
        order = self.find_order(call)
        if order is None:
            raise RejectedError(Reason.NO_SUCH_ORDER)
        return self._view(order)

    def cancel(self, call: Call) -> dict[str, Any]:
        self.state(call)
        return self._view(self.exchange.matching.cancel(call.owner, self.find_order(call)))

    def cancel_all(self, call: Call) -> list[dict[str, Any]]:
        orders = call.owner.open_orders(self.state(call).instrument.symbol)
        for order in orders:
            self.exchange.matching.cancel(call.owner, order)
        return [self._view(order) for order in orders]

    def open_orders(self, call: Call) -> list[dict[str, Any]]:
        return [self._view(order) for order in call.owner.open_orders(self.state(call).instrument.symbol)]

    def all_orders(self, call: Call) -> list[dict[str, Any]]:
        symbol = self.state(call).instrument.symbol
        since = call.whole("startTime") or 0
        found = [o for o in call.owner.orders.values() if o.symbol == symbol and o.created_ms >= since]
        return [self._view(order) for order in found[-self.page_of(call, 500) :]]

    def my_trades(self, call: Call) -> list[dict[str, Any]]:
        """The newest, newest first."""
        state = self.state(call)
        start_ms, end_ms = call.whole("startTime") or 0, call.whole("endTime") or sys.maxsize
        wanted = call.params.get("orderId")
        found = [
            fill
            for fill in call.owner.fills
            if fill.symbol == state.instrument.symbol
            and start_ms <= fill.time_ms <= end_ms
            and wanted in (None, order_id(fill.order_id))
        ]
        page = min(self.page_of(call, 100), OWN_TRADES_PAGE)
        return [self._fill(fill, state.instrument.id) for fill in reversed(found[-page:])]

    @staticmethod
    def _fill(fill: Fill, market_id: str) -> dict[str, Any]:
        return {
            "symbol": market_id,
            "id": trade_id(fill),
            "orderId": order_id(fill.order_id),
            "orderListId": -1,
            "price": text(fill.price),
            "qty": text(fill.amount),
            "quoteQty": text(fill.cost),
            "commission": text(fill.fee),
            "commissionAsset": fill.fee_asset,
            "time": fill.time_ms,
            "isBuyer": fill.side == "buy",
            "isMaker": fill.is_maker,
            "isBestMatch": True,
            "isSelfTrade": False,
            "clientOrderId": fill.client_id,
        }


def _places(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))
