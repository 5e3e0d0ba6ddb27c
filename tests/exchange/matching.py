"""Matching: orders of accounts against the book, exact in decimals."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from decimal import Decimal

from tests.exchange.accounts import (
    MARKET_TYPES,
    STOP_TYPES,
    Account,
    Fill,
    Order,
    OrderRequest,
    Reason,
    RejectedError,
)
from tests.exchange.market import Market, SymbolMarket
from tests.exchange.model import Side, Trade
from tests.exchange.rules import check

OnOrder = Callable[[Account, Order, Fill | None], None]
OnBalance = Callable[[Account, tuple[str, ...]], None]


class Matching:
    """Places, fills and cancels.

    A crossing order takes from the book level by level. A resting order fills once the market trades through
    its price or the book crosses it, at its own price and as far as that trade or level goes.
    """

    def __init__(self, market: Market, accounts: list[Account], on_order: OnOrder, on_balance: OnBalance) -> None:
        self.market = market
        self.accounts = accounts
        self._on_order = on_order
        self._on_balance = on_balance
        self._next_order_id = 1_000_001
        self._next_list_id = 501
        self._busy = False
        market.on_trade = self._after_trade
        market.on_book = self._after_book

    def place(self, account: Account, request: OrderRequest, list_id: int = -1) -> Order:
        """Accept an order and match it.

        Raises
        ------
        RejectedError
            With the reason for which the exchange refuses it; nothing has changed then.
        """
        state = self.market.symbols[request.symbol]
        check(state, request)
        if request.client_id and any(o.client_id == request.client_id for o in account.open_orders()):
            raise RejectedError(Reason.DUPLICATE)
        now_ms = self.market.clock.market_ms()
        order = Order(
            self._next_order_id,
            request.client_id or secrets.token_hex(11),
            request,
            self._amount(state, request),
            now_ms,
            now_ms,
            triggered=request.type not in STOP_TYPES,
            list_id=list_id,
        )
        self._reserve(account, order)
        self._next_order_id += 1
        account.orders[order.id] = order
        self._on_order(account, order, None)
        if order.triggered:
            self._take(account, order)
        self._on_balance(account, self._assets(order))
        return order

    def place_pair(self, account: Account, above: OrderRequest, below: OrderRequest) -> tuple[Order, Order]:
        """One cancels the other: the limit order reserves, the stop shares that."""
        list_id = self._next_list_id
        self._next_list_id += 1
        limit, stop = (above, below) if below.type in STOP_TYPES else (below, above)
        check(self.market.symbols[stop.symbol], stop)
        first = self.place(account, limit, list_id)
        now_ms = self.market.clock.market_ms()
        second = Order(
            self._next_order_id,
            stop.client_id or secrets.token_hex(11),
            stop,
            stop.amount or Decimal(0),
            now_ms,
            now_ms,
            triggered=False,
            list_id=list_id,
        )
        self._next_order_id += 1
        account.orders[second.id] = second
        self._on_order(account, second, None)
        return first, second

    def cancel(self, account: Account, order: Order | None) -> Order:
        """Cancel an open order, and what is tied to it."""
        if order is None or not order.open:
            raise RejectedError(Reason.UNKNOWN_CANCEL)
        self._end(account, order, "canceled")
        for other in self._siblings(account, order):
            self._end(account, other, "canceled")
        self._on_balance(account, self._assets(order))
        return order

    def _siblings(self, account: Account, order: Order) -> list[Order]:
        if order.list_id < 0:
            return []
        return [o for o in account.open_orders() if o.list_id == order.list_id and o is not order]

    def _assets(self, order: Order) -> tuple[str, str]:
        rules = self.market.symbols[order.symbol].instrument
        return rules.base, rules.quote

    def _amount(self, state: SymbolMarket, request: OrderRequest) -> Decimal:
        if request.amount is not None:
            return request.amount
        left, amount = request.cost or Decimal(0), Decimal(0)
        for price, there in state.book.levels("sell" if request.side == "buy" else "buy"):
            part = min(there, state.instrument.to_step(left / price))
            amount += part
            left -= part * price
            if part < there:
                break
        if not amount:
            raise RejectedError(Reason.NOTIONAL)
        return amount

    def _reserve(self, account: Account, order: Order) -> None:
        rules = self.market.symbols[order.symbol].instrument
        if order.side == "sell":
            order.reserved_asset, order.reserved = rules.base, order.amount
        else:
            order.reserved_asset = rules.quote
            order.reserved = self._worst_cost(order)
            if account.fee_asset == "quote":
                order.reserved *= 1 + max(account.maker, account.taker)
        balance = account.balances[order.reserved_asset]
        if balance.free < order.reserved:
            raise RejectedError(Reason.INSUFFICIENT)
        balance.free -= order.reserved
        balance.locked += order.reserved

    def _worst_cost(self, order: Order) -> Decimal:
        """What a purchase can cost at most: its own price, or that of the levels that it eats."""
        request = order.request
        if request.price is not None:
            return order.amount * request.price
        if request.stop_price is not None:
            return order.amount * request.stop_price
        left, cost = order.amount, Decimal(0)
        for price, there in self.market.symbols[order.symbol].book.levels("sell"):
            part = min(left, there)
            cost += part * price
            left -= part
        return cost

    def _crosses(self, order: Order, price: Decimal) -> bool:
        limit = None if order.request.type in MARKET_TYPES else order.price
        return limit is None or (price <= limit if order.side == "buy" else price >= limit)

    def _take(self, account: Account, order: Order) -> None:
        """Match a new or triggered order against the book."""
        state = self.market.symbols[order.symbol]
        against: Side = "sell" if order.side == "buy" else "buy"
        levels = [level for level in state.book.levels(against) if self._crosses(order, level[0])]
        enough = sum(amount for _, amount in levels) >= order.remaining
        in_force = order.request.time_in_force
        if in_force == "FOK" and not enough:
            self._end(account, order, "expired")
            return
        for price, there in levels:
            if not order.remaining:
                break
            part = min(there, order.remaining)
            state.book.set(against, price, there - part)
            self._fill(account, order, price, part, is_maker=False)
        if order.open and (order.request.type in MARKET_TYPES or in_force == "IOC"):
            self._end(account, order, "expired")

    def _fill(self, account: Account, order: Order, price: Decimal, amount: Decimal, *, is_maker: bool) -> None:
        rules = self.market.symbols[order.symbol].instrument
        now_ms = self.market.clock.market_ms()
        buyer_is_maker = (order.side == "buy") == is_maker
        busy, self._busy = self._busy, True
        trade = self.market.trade(order.symbol, price, amount, buyer_is_maker, now_ms)
        self._busy = busy
        cost = price * amount
        received = (rules.base, amount) if order.side == "buy" else (rules.quote, cost)
        rate = account.maker if is_maker else account.taker
        fee_asset = rules.quote if account.fee_asset == "quote" else received[0]
        fee = (cost if fee_asset == rules.quote else amount) * rate
        self._pay(account, order, amount if order.side == "sell" else cost)
        account.balances[received[0]].free += received[1]
        if fee_asset == order.reserved_asset:
            self._pay(account, order, fee)
        else:
            account.balances[fee_asset].free -= fee
        fill = Fill(
            trade.id,
            order.id,
            order.client_id,
            order.symbol,
            order.side,
            price,
            amount,
            fee,
            fee_asset,
            is_maker,
            now_ms,
        )
        order.filled += amount
        order.cost += cost
        order.fills.append(fill)
        account.fills.append(fill)
        order.updated_ms = now_ms
        order.status = "partially_filled" if order.remaining else "filled"
        if not order.remaining:
            self._release(account, order)
            for other in self._siblings(account, order):
                self._end(account, other, "expired")
        self._on_order(account, order, fill)

    def _pay(self, account: Account, order: Order, amount: Decimal) -> None:
        order.reserved -= amount
        account.balances[order.reserved_asset].locked -= amount

    def _release(self, account: Account, order: Order) -> None:
        if not order.reserved_asset:
            return
        balance = account.balances[order.reserved_asset]
        balance.locked -= order.reserved
        balance.free += order.reserved
        order.reserved = Decimal(0)

    def _end(self, account: Account, order: Order, status: str) -> None:
        order.status = "canceled" if status == "canceled" else "expired"
        order.updated_ms = self.market.clock.market_ms()
        self._release(account, order)
        self._on_order(account, order, None)

    def _after_trade(self, trade: Trade) -> None:
        if self._busy:
            return
        for account in self.accounts:
            for order in account.open_orders(trade.symbol):
                if not order.open:
                    continue
                if not order.triggered:
                    self._maybe_trigger(account, order, trade.price)
                elif order.price is not None and self._through(order, trade.price):
                    self._fill(account, order, order.price, min(order.remaining, trade.amount), is_maker=True)
                    self._on_balance(account, self._assets(order))

    @staticmethod
    def _through(order: Order, price: Decimal) -> bool:
        assert order.price is not None
        return price < order.price if order.side == "buy" else price > order.price

    def _after_book(self, symbol: str) -> None:
        for account in self.accounts:
            for order in account.open_orders(symbol):
                against: Side = "sell" if order.side == "buy" else "buy"
                best = self.market.symbols[symbol].book.best(against)
                if best is None or not (order.open and order.triggered and order.price is not None):
                    continue
                if self._crosses(order, best[0]):
                    self._fill(account, order, order.price, min(order.remaining, best[1]), is_maker=True)
                    self._on_balance(account, self._assets(order))

    def _maybe_trigger(self, account: Account, order: Order, price: Decimal) -> None:
        stop = order.request.stop_price
        assert stop is not None
        falling = (order.side == "sell") == order.request.type.startswith("stop_loss")
        if price > stop if falling else price < stop:
            return
        for other in self._siblings(account, order):
            self._end(account, other, "expired")
        order.triggered = True
        try:
            if not order.reserved:
                self._reserve(account, order)
        except RejectedError:
            self._end(account, order, "expired")
            return
        self._take(account, order)
        self._on_balance(account, self._assets(order))
