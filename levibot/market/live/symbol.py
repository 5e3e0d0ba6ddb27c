"""One live symbol: what its streams and REST bring becomes quotes, trades, books and bars, and a state.

Silence is no error, contradiction is. What the streams may have missed is marked at once, and is only as good
as new when the exchange has been asked: for the newest trades, with overlap, and for the bars that cannot be
built from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from levibot.bus.messages import MarketHealth, Trade
from levibot.config_market import FeedConfig
from levibot.exchange.quirks import Quirks
from levibot.exchange.validation import BookSnapshot, PublicTrade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.liquidity import Liquidity
from levibot.market.live.bars import BarTape
from levibot.market.live.coverage import Coverage
from levibot.market.live.frame_times import FrameTimes
from levibot.market.live.freshness import Freshness
from levibot.market.live.prices import Prices
from levibot.market.live.probation import Probation
from levibot.market.live.sequence import IdSequence
from levibot.market.live.trade_log import TradeLog
from levibot.market.path import Correction, Item, Quote, Recovered, Stale, TradeBatch
from levibot.market.states import HALTED, LIVE, OPENING, STALE

_OVERDUE_MS = 15_000  # a bar that is missing so long after its end


class SymbolFeed:
    """A `Receiver` that publishes; it reads no clock and no socket of its own.

    Parameters
    ----------
    symbol
        Canonical.
    config
        Section ``[feed]``.
    quirks
        Of the exchange.
    publish
        Gets event time in ms, never going back, and what happened.
    clock
        CLOCK_BOOTTIME in ns.
    exchange_ms
        The exchange's time, Unix ms.
    """

    def __init__(
        self,
        symbol: str,
        config: FeedConfig,
        quirks: Quirks,
        publish: Callable[[int, Item], object],
        clock: Callable[[], int],
        exchange_ms: Callable[[], int],
    ) -> None:
        self.symbol = symbol
        self.state = OPENING
        self.trades_now = True  # by its specification
        self._publish = publish
        self._clock = clock
        self._exchange_ms = exchange_ms
        self._log = TradeLog()
        self._sequence = IdSequence() if quirks.consecutive_trade_ids else None
        self._coverage = Coverage()
        liquidity = Liquidity()
        self._bars = BarTape(config.max_gap_minutes, liquidity)
        self._prices = Prices(config, quirks, liquidity)
        self._freshness = Freshness(int(config.stale_after * 1e9), clock())
        self._probation = Probation(int(config.stale_after * 1e9))
        self._event_ms = 0
        self.heard_ns = clock()  # when a stream last brought something
        self._first_ms: int | None = None  # the exchange's time from which all trades are to be told
        self._times = FrameTimes(clock, exchange_ms)
        self._begins = 0
        self._trades = self._stales = self._malformed = 0

    def begin(self, history: Sequence[Candle]) -> None:
        """Follow a history that has been published; it may be empty. Before this, nothing is published."""
        self._bars.begin(history, self._exchange_ms())
        self._prices.begin(self._bars.last_close)

    # ------------------------------------------------------------------ what the streams bring

    def on_trades(self, trades: Sequence[PublicTrade], received_ns: int) -> None:
        """As `Receiver`."""
        new = self._take(trades, repeated=False)
        if new:  # a stream that only repeats itself is as good as silent
            if self._first_ms is None:  # it may begin before the other streams, and from here on all is news
                self._first_ms = min(trade.event_ms for trade in new)
            self._freshness.hear_trade(received_ns)
            self.heard_ns = received_ns
            self._coverage.resume(max(trade.event_ms for trade in new))
            self._times.note(new[-1].event_ms, received_ns)
            self._announce(new, received_ns, backfilled=False)

    def on_quote(self, bid: float, ask: float, event_ms: int | None, received_ns: int) -> None:
        """As `Receiver`."""
        if not self._prices.quote(bid, ask, self._times.sound_ms(event_ms), received_ns):
            self._malformed += 1
            return
        self._times.note(event_ms, received_ns)
        self.heard_ns = received_ns
        self._freshness.hear_quote(received_ns, is_quote=True)
        self._send_prices()

    def on_book(self, book: BookSnapshot, received_ns: int) -> None:
        """As `Receiver`."""
        found = self._prices.take_book(
            book, self._times.sound_ms(book.event_ms), received_ns, needs_quote=not self._freshness.quoted
        )
        if found is None:
            self._malformed += 1
            return
        self._times.note(book.event_ms, received_ns)
        self.heard_ns = received_ns
        self._freshness.hear_quote(received_ns, is_quote=found)
        self._send_prices()

    def on_malformed(self, reason: str) -> None:
        """As `Receiver`."""
        self._malformed += 1

    def on_lost(self, reason: str) -> None:
        """As `Receiver`."""
        self._freshness.lose(reason)
        self._coverage.lose(self._log.newest_ms, self._exchange_ms(), self._clock())
        self._judge()

    def on_still_lost(self, reason: str) -> None:
        """As `Receiver`."""
        self._freshness.lose(reason)
        self._judge()

    def on_restored(self) -> None:
        """As `Receiver`."""
        now_ms, now_ns = self._exchange_ms(), self._clock()
        self._begins += 1
        self._freshness.restore(now_ns)
        self._coverage.listen(self._log.newest_ms, now_ms, now_ns)
        if self._begins == 1:
            self._log.begin(now_ms)
        if self._first_ms is None:
            self._first_ms = now_ms
        self._judge()

    # ------------------------------------------------------------------ time passes

    def turn(self) -> None:
        """Send what is due, close the minute, judge silence; to be called every 20 to 50 ms."""
        now_ms, now_ns = self._exchange_ms(), self._clock()
        if self._sequence is not None and self._coverage.broken_ms is None:
            lost_ms = self._sequence.give_up(now_ns)
            if lost_ms is not None:
                self._coverage.interrupt(lost_ms, self._log.newest_ms, now_ns)
        self._log.forget(self._coverage.broken_ms)
        for bar in self._bars.close_due(now_ms - self._times.settle_ms, self._is_whole):
            self._say(bar.close_ms, bar)
        self._send_prices()
        self._judge()

    @property
    def word(self) -> str:
        """Its state as it is reported: of a market that does not trade, its data do not matter."""
        return self.state if self.trades_now else HALTED

    # ------------------------------------------------------------------ what REST should bring

    @property
    def wants_trades(self) -> bool:
        """Whether trades may be missing, so that the exchange's newest are to be read."""
        return self._coverage.wants_trades

    @property
    def bars_from_ms(self) -> int | None:
        """Opening time of the first minute that is over and cannot be built from trades; None if there is none."""
        next_ms = self._bars.next_ms
        if next_ms is None or next_ms + MINUTE_MS > self._exchange_ms() - self._times.settle_ms:
            return None
        # what has been skipped for a moment only may still come
        return None if self._coverage.is_whole(next_ms, next_ms + MINUTE_MS, None) else next_ms

    @property
    def unchecked_ms(self) -> int | None:
        """Opening time of the oldest bar that is to be compared with the exchange's own, or with it once more."""
        return self._bars.unchecked_ms

    @property
    def is_trusted(self) -> bool:
        """Whether the streams are there, and nothing has contradicted them since they were begun."""
        return self._freshness.is_trusted

    @property
    def renewals(self) -> int:
        """How often the streams were begun anew."""
        return max(0, self._begins - 1)

    @property
    def lag_ms(self) -> int | None:
        """Of the newest frame: by the exchange's time, receipt less what it carries."""
        return self._times.lag_ms

    def quote_silence_ns(self, now_ns: int) -> int:
        """Since the last quote or book, or since the exchange has confirmed that there is nothing new."""
        return self._freshness.quote_silence_ns(now_ns)

    def trade_silence_ns(self, now_ns: int) -> int:
        """Since the last trade, or since the exchange has confirmed that there is none."""
        return self._freshness.trade_silence_ns(now_ns)

    @property
    def top(self) -> tuple[float, float] | None:
        """Newest bid and ask, even if they are old; None before the first."""
        return self._prices.top

    def forming(self) -> tuple[int, float] | None:
        """The minute that is forming and the base amount traded in it; None if some of it may be missing."""
        open_ms = self._exchange_ms() // MINUTE_MS * MINUTE_MS
        if not self._is_whole(open_ms):
            return None
        return open_ms, self._bars.volume(open_ms)

    # ------------------------------------------------------------------ what REST brought

    def add_trades(self, trades: Sequence[PublicTrade], asked_ns: int) -> None:
        """Take the exchange's newest trades.

        Parameters
        ----------
        trades
            As many as one answer holds, oldest first.
        asked_ns
            CLOCK_BOOTTIME before they were asked for: an answer from before the streams were there does not
            tell what was missed.
        """
        suspect_ms = self._suspect_ms
        new = self._take(trades, repeated=True)
        first_ms = self._first_ms
        # what was traded before the streams were begun completes the bar, but is nobody's news
        news = [trade for trade in new if first_ms is not None and trade.event_ms >= first_ms]
        self._prices.know(new)
        if news:
            self._announce(news, self._clock(), backfilled=True)
        if trades:
            oldest_ms = max(min(trade.event_ms for trade in trades), self._log.floor_ms - 1)
            newest_ms = max(trade.event_ms for trade in trades)
            closed = self._coverage.close(oldest_ms, newest_ms, asked_ns, suspect_ms)
        else:
            closed = self._log.newest_ms is None and self._coverage.close(None, None, asked_ns, suspect_ms)
        if closed and trades and self._sequence is not None:
            self._sequence.settle(trades[-1].id, trades[-1].event_ms)
        self._judge()

    def add_bars(self, candles: Sequence[Candle], until_ms: int) -> None:
        """Take the exchange's own bars from `bars_from_ms` up to `until_ms`; those that it lacks are made up.

        Parameters
        ----------
        candles
            Oldest first, none that is still forming.
        until_ms
            A whole minute: before it, what is not among `candles` the exchange lacks.
        """
        for item in self._bars.fill(candles, until_ms):
            self._say(item.close_ms if isinstance(item, Candle) else item.until_ms, item)
        self._judge()

    def check_bars(self, candles: Sequence[Candle], until_ms: int) -> None:
        """Compare the exchange's own bars with what was published; a difference becomes a correction.

        Parameters
        ----------
        candles
            All that the exchange has from `unchecked_ms` up to `until_ms`, oldest first.
        until_ms
            A whole minute: before it, what is not among `candles` the exchange lacks.
        """
        for candle in self._bars.check(candles, until_ms):
            now_ms = self._exchange_ms()
            self._say(now_ms, Correction(max(now_ms, self._event_ms), candle))

    def confirm_quotes(self) -> None:
        """The exchange shows the same bid and ask: they are as good as new, and told again.

        Not while the streams are lost: when they are back, only a price of theirs is known to be newer than that.
        """
        now_ns = self._clock()
        if self._freshness.is_trusted and self._prices.confirm(self._exchange_ms(), now_ns):
            self._freshness.hear_quote(now_ns, is_quote=True)
            self._send_prices()
            self._judge()

    def confirm_trades(self) -> None:
        """The exchange shows no trade that is not known."""
        self._freshness.hear_trade(self._clock())

    def doubt(self, reason: str) -> None:
        """The exchange shows something else than the streams: they count again when they are begun anew."""
        self._freshness.doubt(reason)
        newest_ms, now_ms = self._log.newest_ms, self._exchange_ms()
        self._coverage.interrupt(now_ms if newest_ms is None else newest_ms, newest_ms, self._clock())
        self._judge()

    def health(self) -> MarketHealth:
        """Counts since the start."""
        return MarketHealth(
            trades=self._trades,
            books=self._prices.books,
            duplicates=self._log.duplicates,
            stales=self._stales,
            gaps=self._coverage.breaks,
            corrections=self._bars.corrections,
            backfilled=self._bars.backfilled,
            synthetic=self._bars.synthetic,
            renewals=self.renewals,
            malformed=self._malformed + self._log.refused,
            lag_ms=self.lag_ms,
            late=self._log.late,
            missed=self._bars.missed,
        )

    # ------------------------------------------------------------------ inside

    def _is_whole(self, open_ms: int) -> bool:
        return self._coverage.is_whole(open_ms, open_ms + MINUTE_MS, self._suspect_ms)

    @property
    def _suspect_ms(self) -> int | None:
        return self._sequence.suspect_from_ms if self._sequence is not None else None

    def _take(self, trades: Sequence[PublicTrade], *, repeated: bool) -> list[PublicTrade]:
        new = self._log.take(trades, self._exchange_ms(), repeated=repeated)
        now_ns = self._clock()
        for trade in new:
            if self._sequence is not None:
                self._sequence.follow(trade.id, trade.event_ms, now_ns)
            self._bars.add(trade)
        return new

    def _announce(self, new: Sequence[PublicTrade], received_ns: int, *, backfilled: bool) -> None:
        self._trades += len(new)
        self._prices.trade(new, received_ns)
        event_ms = max(self._event_ms, *(trade.event_ms for trade in new))
        batch = [Trade(trade.id or "", *trade[1:]) for trade in new]
        self._say(event_ms, TradeBatch(event_ms, batch, received_ns, backfilled))
        self._send_prices()

    def _send_prices(self) -> None:
        if self._bars.next_ms is None:
            return
        now_ns = self._clock()
        for item in self._prices.due(now_ns, self._event_ms, quoted=self._freshness.quoted):
            self._say(item.event_ms, item)
            if self.state == OPENING and isinstance(item, Quote):
                self.state = LIVE

    def _judge(self) -> None:
        now_ms, now_ns = self._exchange_ms(), self._clock()
        if self.state == OPENING:
            return
        trouble = self._trouble(now_ms, now_ns)
        if self.state == LIVE:
            if trouble:
                self._stales += 1
                self._probation.fail(now_ns)
                self.state = STALE + trouble
                self._say(now_ms, Stale(max(now_ms, self._event_ms), trouble))
        elif trouble:
            self._probation.interrupt()
            self.state = STALE + trouble
        elif self.wants_trades or self.bars_from_ms is not None:
            self._probation.interrupt()
        elif not self._probation.passes(now_ns):
            self.state = STALE + "watched after a relapse"
        else:
            self.state = LIVE
            self._say(now_ms, Recovered(max(now_ms, self._event_ms)))

    def _trouble(self, now_ms: int, now_ns: int) -> str:
        trouble = self._freshness.trouble(now_ns)
        if trouble:
            return trouble
        if self._coverage.broken_ms is not None and self._coverage.from_ms is not None:
            return "gap in trades"
        next_ms = self._bars.next_ms
        if next_ms is not None and now_ms > next_ms + MINUTE_MS + _OVERDUE_MS:
            return "a bar is overdue"
        return ""

    def _say(self, event_ms: int, item: Item) -> None:
        if self._bars.next_ms is None:
            return
        self._event_ms = max(self._event_ms, event_ms)
        self._publish(self._event_ms, item)
