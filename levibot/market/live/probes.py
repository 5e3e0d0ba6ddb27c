"""Silence is asked about: is there nothing to say, or does a stream not say it?

A stream may be dead while its connection answers every ping, and a quiet market looks just the same. So
after a short silence the exchange is asked by REST. If it shows what is known already, silence is right. If it
shows something else, and the stream does not bring that within a moment, the stream is renewed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from levibot.clock import boot_ns
from levibot.errors import BudgetError, ExchangeRefusedError, ExchangeUnavailableError
from levibot.exchange.public import best_prices, newest_bars
from levibot.exchange.session import ExchangeSession
from levibot.market.bars import MINUTE_MS
from levibot.market.live.pauses import Refusals
from levibot.market.live.symbol import SymbolFeed

_LOOK_S = 0.2  # between two looks at who is silent
_GRACE = 0.2  # part of the silence that is borne: the stream has it to bring what REST, often ahead, has shown
_ANSWER_S = 3.0  # a probe that takes longer says nothing
_SLOW = f"a probe was not answered within {_ANSWER_S:g} s"
_NO_TURN = (
    f"a probe had no turn within {_ANSWER_S:g} s: the feed's share of the rate limit is used up; raise [exchange] "
    "requests_per_minute or feed_share if the exchange allows it, or trade fewer symbols"
)
_BARS_AT_ONCE = 4
_THRIFT = 0.5  # part of the rate limit's share above which trades are asked about seldom
_SELDOM_NS = 15_000_000_000
_TOLERANCE = 1e-6  # of a volume: sums of floats
_DISPUTE_NS = 60_000_000_000  # so long a dispute is remembered that a renewal has not settled


class Told(Protocol):
    """Who is told what a probe found."""

    def __call__(self, symbol: str, reason: str) -> None: ...


class _Volume(NamedTuple):
    """What the exchange said of the minute that was forming."""

    open_ms: int
    volume: float
    asked_ns: int


class _Dispute(NamedTuple):
    """What the exchange shows and the streams do not."""

    what: object
    renewals: int  # of the streams until then
    at_ns: int


class Disputes:
    """Contradictions that renewing the streams has not ended: then the two never agree, and neither is wrong.

    So it is where trades or orders of a special kind are shown in one of them only. Renewing again and again
    would keep the symbol stale for ever, and take the dials from those that need them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Dispute] = {}

    def is_settled(self, symbol: str, kind: str, what: object, renewals: int, now_ns: int) -> bool:
        """Whether the streams were begun anew because of just this, and it was of no use; else note it."""
        before = self._known.get((symbol, kind))
        settled = (
            before is not None
            and before.what == what
            and before.renewals < renewals
            and now_ns - before.at_ns < _DISPUTE_NS
        )
        kept = before.renewals if settled and before is not None else renewals
        self._known[symbol, kind] = _Dispute(what, kept, now_ns)
        return settled

    def end(self, symbol: str, kind: str) -> None:
        """They agree."""
        self._known.pop((symbol, kind), None)


class Prober:
    """Asks about silent symbols, sparingly.

    Parameters
    ----------
    session
        Open.
    feeds
        The symbols that are streamed now; read anew at each look.
    stale_after_ns
        Silence that is borne; asked at half of it.
    refusals
        Symbols that are asked for seldom; those that are refused here join them.
    contradicted
        Called with a symbol whose streams lack what REST shows, and with what that is.
    failed
        Called with each probe that failed, and why: then nothing is known, and the silence counts on.
    """

    def __init__(
        self,
        session: ExchangeSession,
        feeds: Mapping[str, SymbolFeed],
        stale_after_ns: int,
        refusals: Refusals,
        contradicted: Told,
        failed: Callable[[Exception], None],
    ) -> None:
        self.asked = 0
        self._session = session
        self._feeds = feeds
        self._after_ns = stale_after_ns // 2
        self._grace_s = stale_after_ns / 1e9 * _GRACE
        self._refusals = refusals
        self._contradicted = contradicted
        self._failed = failed
        self._bars_asked_ns: dict[str, int] = {}
        self._bars_under_way: set[str] = set()
        self._volumes: dict[str, _Volume] = {}
        self._prices_asked_ns = 0
        self._disputes = Disputes()

    async def run(self) -> None:
        """Look for silence until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            prices: asyncio.Task[None] | None = None
            while True:
                await asyncio.sleep(_LOOK_S)
                if not self._session.may_ask:
                    continue
                now_ns = boot_ns()
                silent = self._silent(now_ns)
                if silent and (prices is None or prices.done()):
                    self._prices_asked_ns = now_ns
                    prices = tasks.create_task(self._ask_prices(silent))
                for symbol in self._due_bars(now_ns):
                    self._bars_under_way.add(symbol)
                    self._bars_asked_ns[symbol] = now_ns
                    tasks.create_task(self._ask_bars(symbol))

    def _asked_about(self, now_ns: int) -> Iterator[tuple[str, SymbolFeed]]:
        """Symbols with streams whose silence can be right, and which the exchange knows."""
        for symbol, feed in self._feeds.items():
            if feed.is_trusted and self._refusals.may_ask(symbol, now_ns):
                yield symbol, feed

    # ------------------------------------------------------------------ best prices

    def _silent(self, now_ns: int) -> list[str]:
        """Symbols whose prices are to be asked for now.

        Who is about to fall silent is asked about with the others, for one answer holds them all; and an answer
        that was of no use, as of a halted market, is not asked for again at once.
        """
        if now_ns - self._prices_asked_ns < self._after_ns // 2:
            return []
        silences = {s: feed.quote_silence_ns(now_ns) for s, feed in self._asked_about(now_ns)}
        if not any(silence > self._after_ns for silence in silences.values()):
            return []
        return [symbol for symbol, silence in silences.items() if silence > self._after_ns // 2]

    async def _ask_prices(self, symbols: list[str]) -> None:
        asked_ns = boot_ns()
        self.asked += 1
        try:
            async with asyncio.timeout(_ANSWER_S):
                prices = await best_prices(self._session, symbols)
        except ExchangeRefusedError as error:
            await self._find_refused(symbols, error)
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, other questions go on; told
            self._fail(error)
            return
        for symbol in symbols:
            self._refusals.end(symbol)
        differing = {}
        for symbol in symbols:
            feed = self._feeds.get(symbol)
            if feed is None or symbol not in prices or feed.quote_silence_ns(boot_ns()) < boot_ns() - asked_ns:
                continue  # gone, without prices, or heard of since
            if _same(feed.top, prices[symbol]):
                self._disputes.end(symbol, "prices")
                feed.confirm_quotes()
            else:
                differing[symbol] = prices[symbol]
        if differing:
            await asyncio.sleep(self._grace_s)
        for symbol, (bid, ask) in differing.items():
            feed, now_ns = self._feeds.get(symbol), boot_ns()
            if feed is None or feed.quote_silence_ns(now_ns) < now_ns - asked_ns or not feed.is_trusted:
                continue
            if self._disputes.is_settled(symbol, "prices", (bid, ask, feed.top), feed.renewals, now_ns):
                feed.confirm_quotes()
            else:
                self._contradicted(symbol, f"prices: the exchange has {bid} / {ask}, the stream {_text(feed.top)}")

    async def _find_refused(self, symbols: list[str], error: ExchangeRefusedError) -> None:
        """One symbol that the exchange does not know must not hide the prices of the others."""
        if len(symbols) > 1:
            for symbol in symbols:
                await self._ask_prices([symbol])
            return
        self._refusals.note(symbols[0], boot_ns())
        self._failed(error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):  # ours, before the session's own deadline
            if self._session.budget.is_used_up:  # it may have waited for its turn: no fault of the exchange
                error = BudgetError(_NO_TURN)
            else:
                self._session.reach.unanswered(_SLOW)
                error = ExchangeUnavailableError(_SLOW)
        self._failed(error)

    # ------------------------------------------------------------------ trades

    def _due_bars(self, now_ns: int) -> list[str]:
        """Symbols without a trade for a while, those asked about longest ago first."""
        budget = self._session.budget
        thrifty = budget.used_last_minute > _THRIFT * budget.allowance.ordinary
        again_ns = _SELDOM_NS if thrifty else self._after_ns
        due = [
            symbol
            for symbol, feed in self._asked_about(now_ns)
            if feed.trade_silence_ns(now_ns) > self._after_ns
            and symbol not in self._bars_under_way
            and now_ns - self._bars_asked_ns.get(symbol, 0) > again_ns
        ]
        due.sort(key=lambda symbol: self._bars_asked_ns.get(symbol, 0))
        return due[: max(0, _BARS_AT_ONCE - len(self._bars_under_way))]

    async def _ask_bars(self, symbol: str) -> None:
        try:
            await self._compare_volume(symbol)
            self._refusals.end(symbol)
        except ExchangeRefusedError as error:
            self._refusals.note(symbol, boot_ns())
            self._failed(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, other questions go on; told
            self._fail(error)
        finally:
            self._bars_under_way.discard(symbol)

    async def _compare_volume(self, symbol: str) -> None:
        """Compare the volume of the forming minute with that of the trades that came.

        Where the minute's trades are not all known, the exchange's volume must not grow between two probes
        without a trade.
        """
        feed, asked_ns = self._feeds.get(symbol), boot_ns()
        if feed is None:
            return
        open_ms = self._session.exchange_ms() // MINUTE_MS * MINUTE_MS
        forming, before = feed.forming(), self._volumes.get(symbol)
        self.asked += 1
        async with asyncio.timeout(_ANSWER_S):
            bars = await newest_bars(self._session, symbol, open_ms)
        volume = next((bar.volume for bar in bars if bar.open_ms == open_ms), 0.0)
        self._volumes[symbol] = _Volume(open_ms, volume, asked_ns)
        if forming is not None and forming[0] == open_ms:
            known = forming[1]
        elif before is not None and before.open_ms == open_ms and _heard_ns(feed) < before.asked_ns:
            known = before.volume
        else:
            return
        more = volume > known * (1 + _TOLERANCE)
        if more:
            await asyncio.sleep(self._grace_s)
        if self._feeds.get(symbol) is not feed or _heard_ns(feed) >= asked_ns or not feed.is_trusted:
            return  # gone, or a trade came, or its streams are begun anew anyway
        shown = open_ms, volume, known
        if more and not self._disputes.is_settled(symbol, "volume", shown, feed.renewals, boot_ns()):
            self._contradicted(symbol, f"trades: the exchange has {volume:g} in this minute, the stream {known:g}")
        else:
            feed.confirm_trades()


def _heard_ns(feed: SymbolFeed) -> int:
    """When trades were last heard of, or confirmed."""
    now_ns = boot_ns()
    return now_ns - feed.trade_silence_ns(now_ns)


def _same(ours: tuple[float, float] | None, theirs: tuple[float, float]) -> bool:
    return ours is not None and all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(ours, theirs, strict=True))


def _text(top: tuple[float, float] | None) -> str:
    return "none" if top is None else f"{top[0]} / {top[1]}"
