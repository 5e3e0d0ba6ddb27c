"""One order book with update ids, which remembers what changed since it was last published."""

from __future__ import annotations

from decimal import Decimal

from tests.exchange.model import BookChange, Level, Quote, Side


class Book:
    """Levels by price; every change has an update id of its own."""

    def __init__(self, symbol: str, update_id: int = 1_000) -> None:
        self.symbol = symbol
        self.update_id = update_id
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self._first_unpublished = update_id + 1
        self._changed: dict[Side, dict[Decimal, Decimal]] = {"buy": {}, "sell": {}}

    def side(self, side: Side) -> dict[Decimal, Decimal]:
        return self.bids if side == "buy" else self.asks

    def set(self, side: Side, price: Decimal, amount: Decimal) -> None:
        levels = self.side(side)
        if levels.get(price, Decimal(0)) == amount:
            return
        if amount:
            levels[price] = amount
        else:
            levels.pop(price, None)
        self.update_id += 1
        self._changed[side][price] = amount

    def levels(self, side: Side, limit: int | None = None) -> list[Level]:
        """Best first."""
        ordered = sorted(self.side(side).items(), reverse=side == "buy")
        return ordered if limit is None else ordered[:limit]

    def best(self, side: Side) -> Level | None:
        levels = self.side(side)
        if not levels:
            return None
        price = max(levels) if side == "buy" else min(levels)
        return price, levels[price]

    def quote(self, time_ms: int) -> Quote | None:
        bid, ask = self.best("buy"), self.best("sell")
        if bid is None or ask is None:
            return None
        return Quote(self.symbol, self.update_id, bid, ask, time_ms)

    def take_change(self, time_ms: int) -> BookChange | None:
        """What changed since the last call; None: nothing."""
        if self.update_id < self._first_unpublished:
            return None
        bids, asks = self._changed["buy"], self._changed["sell"]
        change = BookChange(
            self.symbol,
            self._first_unpublished,
            self.update_id,
            tuple(sorted(bids.items(), reverse=True)),
            tuple(sorted(asks.items())),
            time_ms,
        )
        self._changed = {"buy": {}, "sell": {}}
        self._first_unpublished = self.update_id + 1
        return change
