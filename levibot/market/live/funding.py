"""Funding rate and open interest of the swaps of traded symbols, asked for now and then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from levibot.altdata.board import why_unusable
from levibot.altdata.numbers import checked_number
from levibot.altdata.source import Reading
from levibot.altdata.sources import FUNDING
from levibot.bus.messages import AltData
from levibot.clock import boot_seconds, wall_ms
from levibot.config_altdata import AltDataConfig
from levibot.errors import AltDataError, LeviBotError
from levibot.exchange.session import ExchangeSession

_MARKETS_DEADLINE_S = 30.0  # thousands of markets in one answer
_MARKETS_EVERY_S = 86_400.0
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_TURN_S = 1.0
_MOST_RATE = 1.0  # of one period; what is beyond it is no funding rate


class FundingWatch:
    """Asks, within the feed's share of the rate limit, for what the swap of each symbol tells of its asset.

    An exchange without that swap, or without such figures, gives none: they are missing.

    Parameters
    ----------
    session
        Open.
    config
        Section ``[altdata]``.
    symbols
        What is streamed now.
    publish
        Gets each value when it came, and again from time to time.
    failed
        Gets each failure; the next symbol is asked for all the same.
    lacks
        Gets the symbols of which the exchange has no such figures, when these have become others.
    """

    def __init__(
        self,
        session: ExchangeSession,
        config: AltDataConfig,
        symbols: Callable[[], Iterable[str]],
        publish: Callable[[AltData], None],
        failed: Callable[[Exception], None],
        lacks: Callable[[list[str]], None],
    ) -> None:
        self._session = session
        self._config = config.funding
        self._repeat_s = config.repeat_interval
        self._symbols = symbols
        self._publish = publish
        self._failed = failed
        self._lacks = lacks
        self._lacking: set[str] = set()
        self._told_lacking: set[str] = set()
        self._known: dict[tuple[str, str], AltData] = {}
        self._tellers: dict[str, str] = {}  # asset → the symbol whose swap tells of it
        self._due: dict[str, float] = {}  # symbol → when it has its turn, CLOCK_BOOTTIME
        self._swaps: Any = None  # ccxt's, which knows swaps
        self._swaps_read_s = 0.0

    async def run(self) -> None:
        """Ask until cancelled; the session ends what was opened."""
        repeat_at = 0.0
        while True:
            for symbol in self._take_due():
                try:
                    await self.ask(symbol)
                except Exception as error:  # noqa: BLE001 -- told; prices go on, and it is tried again
                    self._failed(error)
            self._tell_lacking()
            if boot_seconds() >= repeat_at:
                repeat_at = boot_seconds() + self._repeat_s
                self._repeat()
            await asyncio.sleep(_TURN_S)

    async def ask(self, symbol: str) -> None:
        """Ask for what the swap of `symbol` tells, and publish it.

        Raises
        ------
        LeviBotError
            If a part of it does not come or makes no sense; what came is published.
        """
        swap = await self._swap_of(symbol)
        asset = symbol.partition("/")[0]
        if swap is None:
            self._lacking.add(symbol)
            return
        if self._tellers.setdefault(asset, symbol) != symbol:  # BTC/USDC beside BTC/USDT
            return
        failure: LeviBotError | None = None
        told = 0
        for part in (self._rate, self._interest):
            try:
                for name, value, observed_ms in await part(swap):
                    self._tell(asset, name, value, observed_ms)
                    told += 1
            except LeviBotError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        (self._lacking.discard if told else self._lacking.add)(symbol)

    # ------------------------------------------------------------------ asking

    async def _rate(self, swap: str) -> list[tuple[str, float, int]]:
        if not self._swaps.has.get("fetchFundingRate"):
            return []
        found = await self._call(lambda: self._swaps.fetch_funding_rate(swap))
        rate = checked_number(FUNDING, f"funding rate of {swap}", _table(found).get("fundingRate"), -_MOST_RATE)
        if rate > _MOST_RATE:
            raise AltDataError(f"{FUNDING}: funding rate of {swap} is {rate:g}, which it cannot be")
        return [("funding_rate", rate, _time(found))]

    async def _interest(self, swap: str) -> list[tuple[str, float, int]]:
        if self._swaps.has.get("fetchOpenInterestHistory"):
            found = await self._call(lambda: self._swaps.fetch_open_interest_history(swap, "1h", None, 26))
            return _change_of_a_day(swap, found)
        if self._swaps.has.get("fetchOpenInterest"):
            found = await self._call(lambda: self._swaps.fetch_open_interest(swap))
            return [("open_interest", _interest(swap, found), _time(found))]
        return []

    async def _swap_of(self, symbol: str) -> str | None:
        """The swap that belongs to a symbol, as ccxt calls it; None: there is none here."""
        swap = symbol if ":" in symbol else f"{symbol}:{symbol.partition('/')[2]}"
        if self._swaps is None:
            self._swaps = self._session.swaps()
        if not self._swaps_read_s or boot_seconds() > self._swaps_read_s + _MARKETS_EVERY_S:
            await self._call(lambda: self._swaps.load_markets(True), _MARKETS_DEADLINE_S)
            self._swaps_read_s = boot_seconds()
        market = (self._swaps.markets or {}).get(swap)
        return swap if market is not None and market.get("swap") and market.get("linear") else None

    async def _call(self, request: Callable[[], Awaitable[Any]], deadline_s: float = 10.0) -> Any:
        return await self._session.call("data", lambda _exchange: request(), deadline_s)

    # ------------------------------------------------------------------ telling

    def _tell(self, asset: str, name: str, value: float, observed_ms: int) -> None:
        now_ms, max_age_ms = wall_ms(), int(self._config.max_age * 1000)
        if observed_ms and observed_ms < now_ms - max_age_ms - _HOUR_MS:  # a row is named after its beginning
            raise AltDataError(f"{FUNDING}: {name} of {asset} is older than max_age already", "stale")
        if problem := why_unusable(Reading(asset, name, value, observed_ms), now_ms):
            raise AltDataError(f"{FUNDING}: {problem}")
        told = AltData(asset, name, value, FUNDING, observed_ms or now_ms, now_ms, now_ms + max_age_ms)
        self._known[asset, name] = told
        self._publish(told)

    def _tell_lacking(self) -> None:
        self._lacking &= set(self._due)
        if self._lacking != self._told_lacking:
            self._told_lacking = set(self._lacking)
            if self._lacking:
                self._lacks(sorted(self._lacking))

    def _repeat(self) -> None:
        now_ms = wall_ms()
        self._known = {key: value for key, value in self._known.items() if now_ms < value.expires_ms}
        for value in self._known.values():
            self._publish(value)

    def _take_due(self) -> list[str]:
        now, symbols = boot_seconds(), list(self._symbols())
        self._due = {symbol: self._due.get(symbol, now) for symbol in symbols}
        self._tellers = {asset: symbol for asset, symbol in self._tellers.items() if symbol in self._due}
        due = [symbol for symbol in symbols if self._due[symbol] <= now] if self._session.may_ask else []
        for symbol in due:
            self._due[symbol] = now + self._config.interval * random.uniform(0.9, 1.0)
        return due


def _change_of_a_day(swap: str, found: Any) -> list[tuple[str, float, int]]:
    """The newest open interest, and what has become of that of a day before."""
    rows = {_time(row): row for row in found if isinstance(row, dict)} if isinstance(found, list) else {}
    if not rows:
        raise AltDataError(f"{FUNDING}: open interest of {swap} is answered with something else")
    newest_ms = max(rows)
    newest = _interest(swap, rows[newest_ms])
    told = [("open_interest", newest, newest_ms)]
    before = rows.get(newest_ms - _DAY_MS)
    if before is not None and (then := _interest(swap, before)) > 0:
        told.append(("open_interest_change", newest / then - 1, newest_ms))
    return told


def _interest(swap: str, row: Any) -> float:
    """In the base asset, or where the exchange does not tell that, in the quote asset."""
    table = _table(row)
    written = table.get("openInterestAmount")
    if written is None:
        written = table.get("openInterestValue")
    return checked_number(FUNDING, f"open interest of {swap}", written, 0.0)


def _table(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _time(found: Any) -> int:
    """Unix ms of an answer; 0: it does not tell."""
    at_ms = _table(found).get("timestamp")
    return at_ms if isinstance(at_ms, int) and not isinstance(at_ms, bool) else 0
