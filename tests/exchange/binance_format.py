"""Binance's words for orders, fills and rules."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.exchange.accounts import Fill, Order, Transfer
from tests.exchange.market import SymbolMarket
from tests.exchange.model import text
from tests.exchange.v3_format import TYPE_NAMES, amounts

STATUSES = {
    "new": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "rejected": "REJECTED",
    "expired": "EXPIRED",
}


def order(order: Order, market_id: str) -> dict[str, Any]:
    return {
        "symbol": market_id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        **amounts(order),
        "status": STATUSES[order.status],
        "timeInForce": order.request.time_in_force,
        "type": TYPE_NAMES[order.request.type],
        "side": order.side.upper(),
        "icebergQty": "0",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.triggered,
        "workingTime": order.created_ms,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def placed(done: Order, market_id: str) -> dict[str, Any]:
    """The answer to a new order, type FULL."""
    fills = [
        {
            "price": text(fill.price),
            "qty": text(fill.amount),
            "commission": text(fill.fee),
            "commissionAsset": fill.fee_asset,
            "tradeId": fill.trade_id,
        }
        for fill in done.fills
    ]
    answer = order(done, market_id)
    for name in ("time", "updateTime", "isWorking", "icebergQty"):
        del answer[name]
    return answer | {"transactTime": done.updated_ms, "fills": fills}


def fill(fill: Fill, market_id: str, list_id: int) -> dict[str, Any]:
    return {
        "symbol": market_id,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": list_id,
        "price": text(fill.price),
        "qty": text(fill.amount),
        "quoteQty": text(fill.cost),
        "commission": text(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.time_ms,
        "isBuyer": fill.side == "buy",
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def deposit(transfer: Transfer) -> dict[str, Any]:
    return {
        "id": transfer.id,
        "amount": text(transfer.amount),
        "coin": transfer.asset,
        "network": "LOOP",
        "status": 1 if transfer.done else 0,
        "address": "loopback",
        "addressTag": "",
        "txId": f"0x{transfer.id}",
        "insertTime": transfer.time_ms,
        "transferType": 0,
        "confirmTimes": "1/1",
        "walletType": 0,
    }


def withdrawal(transfer: Transfer) -> dict[str, Any]:
    """The fee comes on top; times are written out."""
    applied = datetime.fromtimestamp(transfer.time_ms // 1000, UTC)
    return {
        "id": transfer.id,
        "amount": text(transfer.amount),
        "transactionFee": text(transfer.fee),
        "coin": transfer.asset,
        "status": 6 if transfer.done else 4,
        "address": "loopback",
        "txId": f"0x{transfer.id}",
        "applyTime": applied.strftime("%Y-%m-%d %H:%M:%S"),
        "network": "LOOP",
        "transferType": 0,
        "walletType": 0,
    }


def instrument(state: SymbolMarket) -> dict[str, Any]:
    rules = state.instrument
    lots = {
        "minQty": text(rules.min_amount),
        "maxQty": text(rules.max_amount),
        "stepSize": text(rules.step),
    }
    return {
        "symbol": rules.id,
        "status": "TRADING" if state.status == "trading" else "HALT",
        "baseAsset": rules.base,
        "baseAssetPrecision": 8,
        "quoteAsset": rules.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": list(TYPE_NAMES.values()),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(rules.tick),
                "maxPrice": text(rules.first_price * Decimal(100)),
                "tickSize": text(rules.tick),
            },
            {"filterType": "LOT_SIZE", **lots},
            {"filterType": "MARKET_LOT_SIZE", **lots, "minQty": "0", "stepSize": "0"},
            {"filterType": "NOTIONAL", "minNotional": text(rules.min_cost), "applyMinToMarket": True},
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }
