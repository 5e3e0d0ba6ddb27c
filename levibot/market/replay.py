"""Replay of what was recorded: a folder of candles, of exchange frames, or of what a feed recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS
from levibot.market.candles import CANDLE_SUFFIXES, find_file, first_open_ms, read_candles
from levibot.market.frames import FRAME_SUFFIXES, FrameMarket
from levibot.market.recorded import RecordedMarket
from levibot.market.recorded_files import is_recorded
from levibot.market.recording import Market, Opening, open_candles
from levibot.market.specs import decimals_of, market_spec
from levibot.market.tape import SUFFIX
from levibot.symbols import on_disk

_SAMPLE = 1000  # candles looked at for the decimals of prices


class ReplayRecording:
    """Recorded markets.

    Parameters
    ----------
    folder
        Where the files lie; see `find_file` for their names.
    start_ms
        First live minute, or None: as soon as every symbol has its history; of what a feed recorded, with
        its first message.
    history_bars
        Bars of history that the default start leaves room for.
    """

    def __init__(self, folder: Path, start_ms: int | None, history_bars: int) -> None:
        self.disclosure = f"REPLAY of recorded prices from {folder}."
        self._folder = folder
        self._start_ms = start_ms
        self._history_bars = history_bars

    def begin_ms(self, symbols: Sequence[str]) -> int | None:
        """The configured start, or the first time when all of `symbols` have begun and have their history.

        What a feed recorded begins with history, so there its first symbol decides. Symbols whose data are
        missing or bad are left out: opening them says why.
        """
        if self._start_ms is not None:
            return self._start_ms
        begins, recorded = [], []
        for symbol in symbols:
            try:
                path = find_file(self._folder, symbol, CANDLE_SUFFIXES)
                if path is not None:
                    begins.append(first_open_ms(path) + self._history_bars * MINUTE_MS)
                elif is_recorded(self._folder, symbol):
                    recorded.append(RecordedMarket(self._folder, symbol).begin_ms)
                else:
                    begins.append(FrameMarket(self._frames(symbol)).begin_ms)
            except (MarketDataError, OSError):  # raised again, and reported, when the symbol is opened
                continue
        return max([*begins, *([min(recorded)] if recorded else [])], default=None)

    def open(self, symbol: str, opening: Opening) -> Market:
        """Open the market of `symbol` from its files."""
        path = find_file(self._folder, symbol, CANDLE_SUFFIXES)
        if path is None and is_recorded(self._folder, symbol):
            return RecordedMarket(self._folder, symbol).open(opening)
        if path is None:
            return FrameMarket(self._frames(symbol)).open(symbol, opening)
        table = read_candles(path)
        end_ms = table.open_ms[-1] + MINUTE_MS
        if end_ms <= opening.from_ms:
            raise MarketDataError(
                f"{path}: ends at {end_ms} ms, before the replay is there ({opening.from_ms} ms); "
                "set [feed] start earlier, or history_bars lower, or leave the symbol out"
            )
        first = max(0, table.index_at(opening.from_ms) - opening.bars)
        prices = list(table.prices(_SAMPLE))
        spec = market_spec(symbol, prices[0], decimals_of(prices))
        return open_candles(symbol, spec, table.from_index(first), opening)

    def _frames(self, symbol: str) -> Path:
        path = find_file(self._folder, symbol, FRAME_SUFFIXES)
        if path is None:
            wanted = symbol.replace("/", "").replace(":", "")
            raise MarketDataError(
                f"{self._folder}: no data of {symbol}; expected a file such as {wanted}-1m.csv.gz or "
                f"{wanted.lower()}.jsonl.gz, or {on_disk(symbol)}-…{SUFFIX} as [feed] record writes them"
            )
        return path
