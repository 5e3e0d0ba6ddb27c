"""The streams of one symbol on one line: trades frame by frame, the newest best prices, the newest order book."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from levibot.clock import boot_ns
from levibot.errors import BackOffError, ExchangeUnavailableError, LeviBotError, MalformedAnswerError
from levibot.exchange.failures import describe, raise_malformed, translate
from levibot.exchange.guard import ACKNOWLEDGED
from levibot.exchange.quirks import Quirks
from levibot.exchange.validation import read_book, read_trade
from levibot.market.live.backoff import Backoff
from levibot.market.live.contradiction import Contradiction
from levibot.market.live.receiver import Receiver

Stream = Literal["trades", "book", "quote"]

LEVELS = 50  # of a book, on each side
ANSWER_S = 4.0  # until a subscription is acknowledged or brings something
_NS = 1_000_000_000


class Failure(NamedTuple):
    """Why streams cannot go on."""

    reason: str
    malformed: bool = False  # something came that cannot be used
    of_line: bool = False  # the connection is gone, and with it the streams of all others


class TradeInbox(list[Any]):
    """Stands in for ccxt's cache of trades, and keeps none: they go to `pending` until the frame is dealt with."""

    def __init__(self, owner: SymbolStreams, pending: list[tuple[SymbolStreams, Any]]) -> None:
        super().__init__()
        self._owner = owner
        self._pending = pending

    def append(self, trade: Any) -> None:
        """ccxt has read a trade."""
        self._pending.append((self._owner, trade))

    def getLimit(self, symbol: str | None, limit: int | None) -> int | None:  # ccxt's name
        """How many are new to whoever watches: it is given none here."""
        return limit


def streams_of(quirks: Quirks) -> tuple[Stream, ...]:
    """The streams that a symbol needs, one subscription each."""
    return ("trades", "book") if quirks.best_price == "watch_order_book" else ("trades", "book", "quote")


class SymbolStreams:
    """One symbol on one line.

    Parameters
    ----------
    symbol
        Canonical name.
    receiver
        Who gets what comes.
    quirks
        Of the exchange.
    forwards
        Whether books and best prices are handed on; trades always are. A line that is to replace another one
        waits with them until it does.
    changed
        Called when all subscriptions have been accepted.
    failed
        Called at most once, when the streams cannot go on.
    """

    def __init__(
        self,
        symbol: str,
        receiver: Receiver,
        quirks: Quirks,
        forwards: bool,
        changed: Callable[[SymbolStreams], None],
        failed: Callable[[SymbolStreams, Failure], None],
    ) -> None:
        self.symbol = symbol
        self.forwards = forwards
        self._receiver = receiver
        self._quirks = quirks
        self._changed = changed
        self._failed = failed
        self._exchange: Any = None
        self._missing: set[Stream] = set(streams_of(quirks))  # not yet accepted
        self._silent: set[Stream] = set(self._missing)  # have brought nothing yet
        self._contradiction = Contradiction()
        self._tasks: list[asyncio.Task[None]] = []
        self._deadline_ns = 0
        self._ended = False

    @property
    def is_up(self) -> bool:
        """Whether all subscriptions were accepted."""
        return not self._missing and not self._ended

    @property
    def is_ready(self) -> bool:
        """Whether it could take the place of other streams: the book has come too."""
        return self.is_up and "book" not in self._silent

    # ------------------------------------------------------------------ life

    def start(
        self,
        exchange: Any,
        pending: list[tuple[SymbolStreams, Any]],
        frame_ns: Callable[[], int],
        batched: Sequence[Stream],
    ) -> None:
        """Subscribe.

        Parameters
        ----------
        exchange
            ccxt.pro object of the line.
        pending
            Where trades wait for the end of their frame.
        frame_ns
            When the latest frame was read, CLOCK_BOOTTIME.
        batched
            Streams that were asked for in one message with those of other symbols, of which one may be refused.
        """
        self._exchange = exchange
        self._frame_ns = frame_ns
        exchange.trades[self.symbol] = TradeInbox(self, pending)
        watches: dict[Stream, Callable[[], Any]] = {
            "trades": lambda: exchange.watch_trades(self.symbol),
            "book": lambda: exchange.watch_order_book(self.symbol, self._quirks.book_depth),
            "quote": lambda: getattr(exchange, self._quirks.best_price)(*self._whose_quote()),
        }
        self._tasks = [
            asyncio.create_task(self._watch(stream, watches[stream], stream in batched))
            for stream in streams_of(self._quirks)
        ]

    def expect_answers(self, within_s: float) -> None:
        """The connection is open: from now on, `overdue` counts."""
        self._deadline_ns = boot_ns() + int(within_s * _NS)

    def stop(self) -> list[asyncio.Task[None]]:
        """Hand on nothing any more; returns the tasks that end now."""
        self._ended = True
        for task in self._tasks:
            task.cancel()
        return self._tasks

    def activate(self) -> None:
        """Hand on books and best prices too, beginning with the latest."""
        self.forwards = True
        for stream in ("book", "quote"):
            if stream in streams_of(self._quirks) and stream not in self._silent:
                self._take(stream)

    def check(self, now_ns: int) -> None:
        """Fail if a subscription was not answered in time, or one stream contradicts the other."""
        if self._ended:
            return
        if self._missing and self._deadline_ns and now_ns > self._deadline_ns:
            missing = ", ".join(sorted(self._missing))
            self._fail(Failure(f"{self.symbol}: no answer to the subscription of {missing}"))
        elif (silent := self._contradiction.silent(now_ns)) is not None:
            self._fail(Failure(f"{self.symbol}: the {silent} stream is silent while the best prices have changed"))

    # ------------------------------------------------------------------ what comes

    def on_trades(self, trades: Sequence[Any], received_ns: int) -> None:
        """The trades of one frame, as ccxt gives them."""
        if self._ended:
            return
        what, with_ids = f"{self.symbol} trade", self._quirks.trade_ids
        with self._failing():
            read = [read_trade(trade, what, with_ids=with_ids) for trade in trades]
            self._receiver.on_trades(read, received_ns)

    async def _watch(self, stream: Stream, watch: Callable[[], Any], batched: bool) -> None:
        ACKNOWLEDGED.set(lambda: self._accept(stream))
        backoff = Backoff()
        while not self._ended:
            try:
                await watch()
            except Exception as error:  # noqa: BLE001  # whatever ends a stream, it has a hole
                failure = translate(error, f"{self.symbol} {stream}")
                if batched and stream in self._missing and not _is_of_line(error):
                    batched = False  # it may be another symbol that was refused: ask again, for this one alone
                    continue
                if stream != "book" or not _is_passing(error, failure):
                    self._fail(_failure(error, failure))
                    return
                await asyncio.sleep(max(backoff.failed(), getattr(failure, "wait_s", 0.0)))
                continue
            if self._ended:
                return
            self._silent.discard(stream)
            self._accept(stream)
            self._take(stream)

    def _accept(self, stream: Stream) -> None:
        if self._ended or stream not in self._missing:
            return
        self._missing.discard(stream)
        if not self._exchange.acknowledges and stream == "book":
            self._missing.discard("trades")  # asked for before it: had it been refused, we would know
        if not self._missing:
            self._changed(self)

    def _take(self, stream: Stream) -> None:
        with self._failing():
            if stream == "book":
                self._take_book()
            elif stream == "quote":
                self._take_quote()

    def _take_book(self) -> None:
        found = self._exchange.orderbooks[self.symbol]
        top = {**found, "bids": found["bids"][:LEVELS], "asks": found["asks"][:LEVELS]}
        book = read_book(top, f"{self.symbol} order book")
        received_ns = self._frame_ns()
        prices = (book.bids[0][0], book.asks[0][0]) if book.bids and book.asks else None
        if prices is not None and "quote" in streams_of(self._quirks):
            self._contradiction.note("book", prices, received_ns)
        if not self.forwards:
            return
        self._receiver.on_book(book, received_ns)
        if prices is not None and ("quote" in self._silent or "quote" not in streams_of(self._quirks)):
            self._receiver.on_quote(*prices, book.event_ms, received_ns)  # nothing else says it

    def _take_quote(self) -> None:
        found = self._exchange.bidsasks if self._quirks.best_price == "watch_bids_asks" else self._exchange.tickers
        ticker = found[self.symbol]
        bid, ask = (_price(f"{self.symbol} {side}", ticker.get(side)) for side in ("bid", "ask"))
        if bid is None or ask is None:
            return  # one side of the market is empty
        received_ns = self._frame_ns()
        self._contradiction.note("quote", (bid, ask), received_ns)
        if self.forwards:
            self._receiver.on_quote(bid, ask, ticker.get("timestamp"), received_ns)

    def _whose_quote(self) -> tuple[Any, ...]:
        return ([self.symbol],) if self._quirks.best_price == "watch_bids_asks" else (self.symbol,)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """End the streams if what they brought cannot be used; nothing may reach ccxt, whose loop it would end."""
        try:
            yield
        except MalformedAnswerError as error:
            self._fail(Failure(str(error), malformed=True))
        except Exception as error:  # noqa: BLE001  # a mistake of ours: it counts as one
            what = f"{self.symbol}: a receiver failed"
            asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})
            self._fail(Failure(f"{what} ({describe(error)})"))

    def _fail(self, failure: Failure) -> None:
        if not self._ended:
            self.stop()
            self._failed(self, failure)


def _is_passing(error: Exception, failure: LeviBotError) -> bool:
    """Whether only the snapshot of a book could not be had, which says nothing of the stream."""
    return isinstance(failure, BackOffError | ExchangeUnavailableError) and not _is_of_line(error)


def _is_of_line(error: Exception) -> bool:
    """Whether ccxt speaks of the connection: it raises this very class then, and others for requests."""
    return type(error).__name__ == "NetworkError"


def _failure(error: Exception, failure: LeviBotError) -> Failure:
    return Failure(str(failure), isinstance(failure, MalformedAnswerError), _is_of_line(error))


def _price(what: str, value: Any) -> float | None:
    if value is None or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise_malformed(what, value, "a price")
    return float(value)
