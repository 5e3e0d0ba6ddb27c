"""A `SymbolFeed` whose clocks a test moves, and what it has published."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeVar

from levibot.config_market import FeedConfig
from levibot.exchange.quirks import Quirks
from levibot.exchange.validation import BookSnapshot, PublicTrade
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.live.symbol import SymbolFeed
from levibot.market.path import Item, Quote, Recovered, Stale, TradeBatch

START_MS = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS  # the exchange's time at the start of a test
WITH_IDS = Quirks(consecutive_trade_ids=True, best_price="watch_bids_asks")
WITHOUT_IDS = Quirks(trade_ids=False)
HISTORY = [Candle(START_MS - MINUTE_MS, 100.0, 101.0, 99.0, 100.0, 5.0)]
_BOOT_NS = 5_000_000_000
_I = TypeVar("_I", bound=Item)


def trade(number: int, at_ms: int, price: float = 100.0, amount: float = 1.0, side: Any = "buy") -> PublicTrade:
    """A trade with an id, `at_ms` after the start."""
    return PublicTrade(str(number), START_MS + at_ms, side, price, amount)


def candle(minute: int, price: float = 100.0, volume: float = 3.0) -> Candle:
    """A bar of one price, that of a minute after the start."""
    return Candle(START_MS + minute * MINUTE_MS, price, price, price, price, volume)


class Driven:
    """One symbol. Times of its methods are ms after the start, of both clocks."""

    def __init__(self, quirks: Quirks = WITH_IDS, history: list[Candle] | None = None, **settings: Any) -> None:
        self.now_ms = 0
        self.said: list[tuple[int, int, Item]] = []  # clock in ns, event time in ms, item
        config = FeedConfig(source="ccxt", **settings)
        self.feed = SymbolFeed("BTC/USDT", config, quirks, self._publish, self.now_ns, self.exchange_ms)
        self.feed.begin(HISTORY if history is None else history)

    def now_ns(self) -> int:
        """CLOCK_BOOTTIME."""
        return _BOOT_NS + self.now_ms * 1_000_000

    def exchange_ms(self) -> int:
        """The exchange's time."""
        return START_MS + self.now_ms

    def go(self, until_ms: int, step_ms: int = 50) -> None:
        """Let time pass, turn by turn."""
        while self.now_ms < until_ms:
            self.now_ms = min(self.now_ms + step_ms, until_ms)
            self.feed.turn()

    def live(self, *known: PublicTrade) -> None:
        """Subscribe, and get the first quote and the newest trades by REST."""
        self.feed.on_restored()
        self.quote()
        self.rest(*known)

    def quote(self, bid: float = 99.0, ask: float = 101.0) -> None:
        """A quote comes now."""
        self.feed.on_quote(bid, ask, self.exchange_ms(), self.now_ns())

    def book(self, bid: float = 99.0, ask: float = 101.0) -> None:
        """A book comes now."""
        self.feed.on_book(BookSnapshot([(bid, 1.0)], [(ask, 2.0)], self.exchange_ms(), None), self.now_ns())

    def trades(self, *frame: PublicTrade) -> None:
        """A frame comes now."""
        self.feed.on_trades(frame, self.now_ns())

    def rest(self, *answer: PublicTrade) -> None:
        """The exchange is asked for its newest trades, and answers at once."""
        self.feed.add_trades(answer, self.now_ns())

    def items(self, kind: type[_I]) -> list[_I]:
        """What was published of one kind."""
        return [item for _, _, item in self.said if isinstance(item, kind)]

    @property
    def ids(self) -> list[str]:
        """Of the trades that were published."""
        return [one.trade_id for batch in self.items(TradeBatch) for one in batch.trades]

    def check_promises(self, live_tick_hz: float = 30.0) -> None:
        """What holds whatever happened."""
        events = [event_ms for _, event_ms, _ in self.said]
        assert events == sorted(events), "event times went back"
        sent = [now_ns for now_ns, _, item in self.said if isinstance(item, Quote)]
        assert all(b - a >= 1e9 / live_tick_hz for a, b in pairwise(sent)), "too many ticks"
        turns = [type(item) for _, _, item in self.said if isinstance(item, Stale | Recovered)]
        assert turns == [Stale, Recovered] * (len(turns) // 2) + [Stale] * (len(turns) % 2)
        opens = [bar.open_ms for bar in self.items(Candle)]
        assert all(b - a == MINUTE_MS for a, b in pairwise(opens)), "a bar is missing, or came twice"

    def _publish(self, event_ms: int, item: Item) -> None:
        self.said.append((self.now_ns(), event_ms, item))


def bars(one: Driven) -> list[tuple[float, ...]]:
    """Bars without their flow, as tuples."""
    return [bar[:7] for bar in one.items(Candle)]
