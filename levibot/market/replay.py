"""Replay of what was recorded: a folder of candles or exchange frames, one file a symbol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS
from levibot.market.candles import CANDLE_SUFFIXES, find_file, first_open_ms, read_candles
from levibot.market.frames import FRAME_SUFFIXES, FrameMarket
from levibot.market.recording import Market, Opening, open_candles
from levibot.market.specs import decimals_of, market_spec

_SAMPLE = 1000  # candles looked at for the decimals of prices


class ReplayRecording:
    """Recorded markets.

    Parameters
    ----------
    folder
        Where the files lie; see `find_file` for their names.
    start_ms
        First live minute, or None: as soon as every symbol has its history.
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

        Symbols whose data are missing or bad are left out: opening them says why.
        """
        if self._start_ms is not None:
            return self._start_ms
        begins = []
        for symbol in symbols:
            try:
                begins.append(self._begin_ms(symbol))
            except (MarketDataError, OSError):  # raised again, and reported, when the symbol is opened
                continue
        return max(begins, default=None)

    def open(self, symbol: str, opening: Opening) -> Market:
        """Open the market of `symbol` from its file."""
        path = find_file(self._folder, symbol, CANDLE_SUFFIXES)
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

    def _begin_ms(self, symbol: str) -> int:
        path = find_file(self._folder, symbol, CANDLE_SUFFIXES)
        if path is None:
            return FrameMarket(self._frames(symbol)).begin_ms
        return first_open_ms(path) + self._history_bars * MINUTE_MS

    def _frames(self, symbol: str) -> Path:
        path = find_file(self._folder, symbol, FRAME_SUFFIXES)
        if path is None:
            wanted = symbol.replace("/", "").replace(":", "")
            raise MarketDataError(
                f"{self._folder}: no data of {symbol}; expected a file such as {wanted}-1m.csv.gz or "
                f"{wanted.lower()}.jsonl.gz"
            )
        return path
