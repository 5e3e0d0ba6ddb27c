"""The market: books, trades and bars of several symbols; it tells its listeners what happens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal

from tests.exchange.book import Book
from tests.exchange.clock import MINUTE_MS, ExchangeClock
from tests.exchange.journal import Journal
from tests.exchange.model import (
    DAY_MS,
    Bar,
    BarUpdate,
    DayTicker,
    Instrument,
    Kind,
    MarketEvent,
    Quote,
    Status,
    Trade,
)

Publish = Callable[[Kind, str, MarketEvent], None]


def minute_of(time_ms: int) -> int:
    return time_ms - time_ms % MINUTE_MS


class SymbolMarket:
    """One symbol's state."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.status: Status = "trading"
        self.book = Book(instrument.symbol)
        self.trades: list[Trade] = []
        self.bars: list[Bar] = []
        self.forming: Bar | None = None
        self.last = instrument.first_price
        self.next_trade_id = 1
        self.quoted: Quote | None = None
        self.bar_changed = False

    def all_bars(self, start_ms: int | None, end_ms: int | None) -> list[Bar]:
        """Closed bars and the forming one whose opening lies in the span, both ends included."""
        bars = [*self.bars, self.forming] if self.forming is not None else self.bars
        first = 0 if start_ms is None else bisect_left(bars, start_ms, key=lambda bar: bar.open_ms)
        last = len(bars) if end_ms is None else bisect_left(bars, end_ms + 1, key=lambda bar: bar.open_ms)
        return bars[first:last]


class Market:
    """All symbols.

    Parameters
    ----------
    publish
        Told every event, with the kind of stream that it belongs to.
    minutes_without_trades
        Whether a minute in which nothing traded becomes a bar without volume, as on real exchanges; a
        replay brings its own bars and holes.
    """

    def __init__(
        self,
        clock: ExchangeClock,
        instruments: list[Instrument],
        publish: Publish,
        *,
        minutes_without_trades: bool = True,
    ) -> None:
        self.clock = clock
        self.journal = Journal()
        self.symbols = {instrument.symbol: SymbolMarket(instrument) for instrument in instruments}
        self.by_id = {instrument.id: self.symbols[instrument.symbol] for instrument in instruments}
        self.on_trade: Callable[[Trade], None] = lambda trade: None
        self.on_book: Callable[[str], None] = lambda symbol: None
        self._publish = publish
        self._minutes_without_trades = minutes_without_trades

    def trade(
        self,
        symbol: str,
        price: Decimal,
        amount: Decimal,
        buyer_is_maker: bool,
        time_ms: int,
        trade_id: int | None = None,
    ) -> Trade:
        """A trade happens; bars, journal, streams and resting orders learn of it."""
        state = self.symbols[symbol]
        trade = Trade(
            state.next_trade_id if trade_id is None else trade_id, symbol, price, amount, time_ms, buyer_is_maker
        )
        state.next_trade_id = trade.id + 1
        state.trades.append(trade)
        state.last = price
        self.journal.trades[symbol].append(trade)
        self._add_to_bar(state, trade)
        self._publish("trade", symbol, trade)
        self._publish("aggTrade", symbol, trade)
        self.on_trade(trade)
        return trade

    def _add_to_bar(self, state: SymbolMarket, trade: Trade) -> None:
        open_ms = minute_of(trade.time_ms)
        self.close_bars(state.instrument.symbol, open_ms)
        if state.forming is None:
            state.forming = Bar.at(open_ms, trade.price)
        elif state.forming.trades == 0:
            state.forming = Bar.at(state.forming.open_ms, trade.price)
        state.forming.add(trade)
        state.bar_changed = True

    def close_bars(self, symbol: str, now_ms: int) -> None:
        """Close every bar whose minute is over at `now_ms`, and open the next."""
        state = self.symbols[symbol]
        while state.forming is not None and state.forming.open_ms + MINUTE_MS <= now_ms:
            done = state.forming
            self.add_bar(symbol, done)
            state.forming = None
            if self._minutes_without_trades:
                state.forming = Bar.at(done.open_ms + MINUTE_MS, done.close)
                state.bar_changed = True

    def add_bar(self, symbol: str, bar: Bar) -> None:
        """A bar is complete."""
        self.symbols[symbol].bars.append(bar)
        self.journal.bars[symbol].append(bar)
        self._publish("bar", symbol, BarUpdate(symbol, bar, True, bar.close_ms + 1))

    def publish_book(self, symbol: str) -> None:
        """Publish what changed in a book, and best prices that moved; exchanges do this every 100 ms."""
        state = self.symbols[symbol]
        if state.status != "trading":
            return
        change = state.book.take_change(self.clock.market_ms())
        if change is None:
            return
        self.journal.book(change)
        self._publish("depth", symbol, change)
        self._publish("limit_depth", symbol, change)
        self.publish_quote(symbol)
        self.on_book(symbol)

    def publish_quote(self, symbol: str) -> None:
        state = self.symbols[symbol]
        quote = state.book.quote(self.clock.market_ms())
        if quote is None or (state.quoted and (quote.bid, quote.ask) == (state.quoted.bid, state.quoted.ask)):
            return
        state.quoted = quote
        self._publish("quote", symbol, quote)

    def publish_bars(self) -> None:
        """Publish the forming bars that changed; who plays the market closes them."""
        now_ms = self.clock.market_ms()
        for symbol, state in self.symbols.items():
            if state.forming is not None and state.bar_changed:
                self._publish("bar", symbol, BarUpdate(symbol, state.forming, False, now_ms))
                state.bar_changed = False

    def publish_tickers(self) -> None:
        for symbol in self.symbols:
            self._publish("ticker", symbol, self.day_ticker(symbol))

    def day_ticker(self, symbol: str) -> DayTicker:
        state = self.symbols[symbol]
        now_ms = self.clock.market_ms()
        bars = state.all_bars(now_ms - DAY_MS, None)
        nothing = (Decimal(0), Decimal(0))
        return DayTicker(
            symbol=symbol,
            open=bars[0].open if bars else state.last,
            high=max((bar.high for bar in bars), default=state.last),
            low=min((bar.low for bar in bars), default=state.last),
            last=state.last,
            volume=sum((bar.volume for bar in bars), Decimal(0)),
            cost=sum((bar.cost for bar in bars), Decimal(0)),
            trades=sum(bar.trades for bar in bars),
            open_ms=bars[0].open_ms if bars else now_ms,
            time_ms=now_ms,
            bid=state.book.best("buy") or nothing,
            ask=state.book.best("sell") or nothing,
        )
