"""Where a training gets its candles from: files, downloads, or the history of the simulated exchange."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from levibot.altdata.history import History
from levibot.config import Config
from levibot.config_market import FeedConfig
from levibot.errors import MarketDataError, TrainingError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import CANDLE_SUFFIXES, find_file, read_candles
from levibot.market.gaps import Hole, fill_gaps
from levibot.market.recorded import RecordedMarket
from levibot.market.recorded_files import is_recorded
from levibot.market.simulated import ORIGIN_MS, SimulatedMarket
from levibot.market.source import parse_time
from levibot.ml.material import Material

_DAY_MINUTES = 1440
_SIMULATED_SYMBOL_DAYS = 40  # of all symbols together, unless asked for more: some seconds
_DOWNLOADED_DAYS = 60  # that are proposed: enough for a test span of some weight
_NO_EXCHANGES = ("replay", "simulated")  # nothing can be downloaded of them
_SIMULATED_DAYS = (2, 5)  # least and most of each symbol


def choose(
    config: Config,
    exchange: str,
    symbols: Sequence[str],
    *,
    folder: Path | None,
    days: int | None,
    until: str | None,
    since: date | None = None,
) -> Material:
    """Candles of `exchange`: from a folder, of the market that is played, or of what was downloaded.

    The leading market is that of ``[feed] context``. Alternative data are those that this machine has fetched;
    the simulated market has none.

    Parameters
    ----------
    config
        The settings in force.
    exchange
        Id.
    symbols, days, until
        As of `of_feed`.
    folder
        Where the user says that they lie; None: wherever they are to be expected.
    since
        As of `of_downloads`.

    Raises
    ------
    MarketDataError, ConfigError
        If there are none, or bad ones, or a time is none.
    """
    feed = config.feed
    if folder is not None:
        found = of_folder(folder, symbols, days, until, feed.max_gap_minutes, feed.context)
    elif feed.is_artificial and exchange == config.exchange_id:
        found = of_feed(feed, symbols, days, until)
    else:
        found = of_downloads(
            config.candles_dir(exchange), exchange, symbols, days, until, feed.max_gap_minutes, feed.context, since
        )
    return found if exchange == "simulated" else found._replace(altdata=History(config.altdata_dir))


def of_feed(feed: FeedConfig, symbols: Sequence[str], days: int | None, until: str | None) -> Material:
    """Candles of the market that an artificial feed plays, from before it goes live.

    Parameters
    ----------
    feed
        Section ``[feed]``.
    symbols
        Canonical.
    days
        How many days of each symbol; None: as many as there are, of a simulated market a few.
    until
        UTC time of the first bar that is left out; None: when the feed goes live.

    Raises
    ------
    MarketDataError, ConfigError
        If there are no such candles, or bad ones, or a time is none.
    """
    live = until or feed.start
    if feed.source == "simulated":
        return _simulated(feed, symbols, days, live)
    assert feed.path is not None  # checked with the configuration
    found = of_folder(feed.path, symbols, days, live, feed.max_gap_minutes, feed.context)
    if live is not None:
        return found
    note = "the replay will play what this model has seen; set [feed] start, and train again, for an honest one"
    return found._replace(notes=(*found.notes, note))


def of_downloads(
    folder: Path,
    exchange: str,
    symbols: Sequence[str],
    days: int | None,
    until: str | None,
    max_gap_minutes: int,
    context: str = "",
    since: date | None = None,
) -> Material:
    """Candles that `levibotctl download` has fetched.

    Parameters
    ----------
    folder
        Where it puts those of `exchange`.
    exchange
        Id of the exchange, for the remedy.
    symbols, days, until, max_gap_minutes, context
        As of `of_folder`.
    since
        First day (UTC) that is needed, for the remedy; None: some weeks are proposed.

    Raises
    ------
    MarketDataError
        If there are none of a symbol; the text gives the command that fetches them.
    """
    missing = [s for s in symbols if not folder.is_dir() or find_file(folder, s, CANDLE_SUFFIXES) is None]
    if missing:
        first = since or datetime.now(UTC).date() - timedelta(days=_DOWNLOADED_DAYS)
        fetch = (
            f"fetch them with `levibotctl download --exchange {exchange} --symbols {','.join(missing)} "
            f"--since {first}`, then do this again; or "
        )
        raise MarketDataError(
            f"{folder}: no candles of {', '.join(missing)}; {'' if exchange in _NO_EXCHANGES else fetch}"
            "name the folder that they lie in with --candles FOLDER"
        )
    return of_folder(folder, symbols, days, until, max_gap_minutes, context)


def of_folder(
    folder: Path,
    symbols: Sequence[str],
    days: int | None,
    until: str | None,
    max_gap_minutes: int,
    context: str = "",
) -> Material:
    """Candles from files, one a symbol, or from what a feed recorded.

    Parameters
    ----------
    folder
        Where they lie; see `levibot.market.candles.find_file` for the names of candle files.
    symbols
        Canonical.
    days
        How many days before the end; None: all.
    until
        UTC time of the first bar that is left out; None: none is.
    max_gap_minutes
        Holes of up to this length are filled with synthetic bars.
    context
        The leading market, whose candles lie there too, or are missing; empty: none.

    Raises
    ------
    MarketDataError
        If a file is missing or bad; the text names file and line.
    """
    tables = {symbol: _read(folder, symbol) for symbol in symbols}
    newest_ms = max(table.open_ms[-1] for table in tables.values()) + MINUTE_MS
    end_ms = newest_ms if until is None else min(parse_time(until, "--until"), newest_ms)
    from_ms = 0 if days is None else end_ms - days * _DAY_MINUTES * MINUTE_MS
    spans = {symbol: _Span.of(table, from_ms, end_ms) for symbol, table in tables.items()}
    bars = sum(span.bars for span in spans.values())
    if not bars:
        raise TrainingError(f"{folder}: no candles in the span that was asked for; correct --days or --until")
    found = Material(
        {symbol: span.filled(max_gap_minutes) for symbol, span in spans.items()}, bars, context=context
    )
    if context in ("", *symbols):
        return found
    if not _is_there(folder, context):
        note = (
            f"{folder}: no candles of {context}, the leading market, so features of it are left out; "
            f"put them there as well, or set [feed] context to a market that is there"
        )
        return found._replace(notes=(note,))
    leading = _Span.of(_read(folder, context), from_ms, end_ms)
    return found._replace(bars=bars + leading.bars, leading=leading.filled(max_gap_minutes))


class _Table(Protocol):
    """Candles of one symbol, oldest first."""

    @property
    def open_ms(self) -> Sequence[int]: ...
    def from_index(self, index: int) -> Iterator[Candle]: ...
    def index_at(self, open_ms: int) -> int: ...


class _Span(NamedTuple):
    """Those of them that are asked for."""

    table: _Table
    begin: int
    bars: int

    @classmethod
    def of(cls, table: _Table, from_ms: int, end_ms: int) -> _Span:
        begin = table.index_at(from_ms)
        return cls(table, begin, max(0, table.index_at(end_ms) - begin))

    def filled(self, max_gap_minutes: int) -> Iterator[Candle | Hole]:
        return fill_gaps(islice(self.table.from_index(self.begin), self.bars), max_gap_minutes)


class _Recorded:
    """Candles of a recording, with their flow, which a table of candles has no room for."""

    def __init__(self, candles: Sequence[Candle]) -> None:
        self._candles = candles
        self.open_ms = [candle.open_ms for candle in candles]

    def from_index(self, index: int) -> Iterator[Candle]:
        """Candles from `index` on."""
        return islice(self._candles, index, None)

    def index_at(self, open_ms: int) -> int:
        """Index of the first candle that opens at `open_ms` or later."""
        return bisect_left(self.open_ms, open_ms)


def _is_there(folder: Path, symbol: str) -> bool:
    return find_file(folder, symbol, CANDLE_SUFFIXES) is not None or is_recorded(folder, symbol)


def _read(folder: Path, symbol: str) -> _Table:
    path = find_file(folder, symbol, CANDLE_SUFFIXES)
    if path is None and is_recorded(folder, symbol):
        return _Recorded(RecordedMarket(folder, symbol).candles())
    if path is None:
        name = symbol.replace("/", "").replace(":", "")
        raise MarketDataError(
            f"{folder}: no candles of {symbol}; expected a file such as {name}-1m.csv.gz, or leave {symbol} out "
            "with --symbols"
        )
    return read_candles(path)


def _simulated(feed: FeedConfig, symbols: Sequence[str], days: int | None, until: str | None) -> Material:
    until_ms = ORIGIN_MS if until is None else parse_time(until, "--until")
    if days is None:
        least, most = _SIMULATED_DAYS
        days = max(least, min(most, _SIMULATED_SYMBOL_DAYS // len(symbols)))
    bars = days * _DAY_MINUTES
    first = until_ms // MINUTE_MS - bars
    wanted = dict.fromkeys((*symbols, *([feed.context] if feed.context else [])))
    played = {symbol: islice(SimulatedMarket(feed.seed, symbol).candles(first), bars) for symbol in wanted}
    leading = None if feed.context in symbols else played.pop(feed.context, None)
    return Material(played, bars * len(wanted), context=feed.context, leading=leading)
