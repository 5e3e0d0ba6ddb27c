"""Files of one-minute candles: CSV, gzipped CSV, Parquet, or a folder of Parquet files, one a day.

Every row is checked; a bad one refuses the file.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.parquet import read_parquet
from levibot.symbols import on_disk

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
CANDLE_SUFFIXES = (".csv.gz", ".csv", ".parquet")

_TIMEFRAME = re.compile(r"(?:^|[-_.])(\d+[mhdw])(?=[-_.])")
_SETTLE = re.compile(r"_[A-Z]{2,}")


class CandleTable:
    """All candles of one file, column by column: 48 bytes a candle."""

    def __init__(self) -> None:
        self.open_ms = array("q")
        self._open, self._high, self._low, self._close, self._volume = (array("d") for _ in COLUMNS[1:])

    def __len__(self) -> int:
        return len(self.open_ms)

    def append(self, open_ms: int, open_: float, high: float, low: float, close: float, volume: float) -> None:
        """Add one checked row."""
        self.open_ms.append(open_ms)
        self._open.append(open_)
        self._high.append(high)
        self._low.append(low)
        self._close.append(close)
        self._volume.append(volume)

    def from_index(self, index: int) -> Iterator[Candle]:
        """Candles from `index` on."""
        for at in range(index, len(self.open_ms)):
            yield Candle(
                self.open_ms[at], self._open[at], self._high[at], self._low[at], self._close[at], self._volume[at]
            )

    def index_at(self, open_ms: int) -> int:
        """Index of the first candle that opens at `open_ms` or later."""
        return bisect_left(self.open_ms, open_ms)

    def prices(self, count: int) -> Iterator[float]:
        """Prices of the first `count` candles."""
        for column in (self._open, self._high, self._low, self._close):
            yield from column[:count]


def find_file(folder: Path, symbol: str, suffixes: tuple[str, ...]) -> Path | None:
    """The file of `symbol` in `folder`: ``BTCUSDT-1m.csv.gz``, ``BTC-USDT.parquet``, ``btcusdt-20240808.jsonl``…

    Where Parquet is among `suffixes`, a folder ``BTC-USDT`` with Parquet files is found too. A swap also finds
    the file of its pair. A name with another timeframe than ``1m`` is left alone.

    Raises
    ------
    MarketDataError
        If the folder does not exist, or two files could be meant.
    """
    if not folder.is_dir():
        raise MarketDataError(f"{folder}: no such folder; set [feed] path to a folder of candles or frames")
    pair = symbol.partition(":")[0]
    forms = dict.fromkeys((on_disk(symbol), re.sub("[/:]", "", symbol), on_disk(pair), pair.replace("/", "")))
    names = sorted(path.name for path in folder.iterdir() if _is_data(path, suffixes))
    for form in forms:
        found = [name for name in names if _is_named(name, form)]
        if len(found) > 1:
            raise MarketDataError(f"{folder}: {' and '.join(found)} could both be {symbol}; leave one of them")
        if found:
            return folder / found[0]
    return None


def _is_data(path: Path, suffixes: tuple[str, ...]) -> bool:
    if path.name.endswith(suffixes):  # a folder of that name is in the way, which is told when it is read
        return True
    return ".parquet" in suffixes and path.is_dir() and any(path.glob("*.parquet"))


def _is_named(name: str, form: str) -> bool:
    rest = name[len(form) :]
    if not name.upper().startswith(form) or rest[:1].isalnum() or _SETTLE.match(rest):
        return False
    timeframe = _TIMEFRAME.search(rest)
    return timeframe is None or timeframe[1] == "1m"


def first_open_ms(path: Path) -> int:
    """Opening time of the first candle of a file, or of a folder of files.

    Raises
    ------
    MarketDataError
        If there is no good first row.
    """
    for file in _files(path):
        for line, row in _rows(file):
            table = CandleTable()
            _take(file, [(line, row)], table)
            return table.open_ms[0]
    raise MarketDataError(f"{path}: no candles; expected rows of {','.join(COLUMNS)}")


def read_candles(path: Path) -> CandleTable:
    """Read and check a file, or all Parquet files of a folder in the order of their names.

    Raises
    ------
    MarketDataError
        At the first bad row; the text names file, line and what was expected.
    """
    table = CandleTable()
    for file in _files(path):
        _take(file, _rows(file), table)
    if not len(table):
        raise MarketDataError(f"{path}: no candles; expected rows of {','.join(COLUMNS)}")
    return table


def _files(path: Path) -> list[Path]:
    return (path.is_dir() and sorted(path.glob("*.parquet"))) or [path]


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    return _parquet_rows(path) if path.name.endswith(".parquet") else _csv_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    line = 0
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
            header = stream.readline().strip().decode(errors="replace")
            line = 1
            if header != ",".join(COLUMNS):
                raise MarketDataError(f"{path}:1: header is {header[:80]!r}, expected {','.join(COLUMNS)!r}")
            for text in stream:
                line += 1
                yield line, text.split(b",")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MarketDataError(
            f"{path}:{line + 1}: the gzip stream is damaged or cut off ({error}); fetch the file again"
        ) from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, tuple[Any, ...]]]:
    import polars  # 46 MB: only for who needs it

    try:
        frame = read_parquet(path)
    except polars.exceptions.PolarsError as error:
        raise MarketDataError(f"{path}: not readable as Parquet ({error}); fetch the file again") from error
    if tuple(frame.columns) != COLUMNS:
        raise MarketDataError(f"{path}: columns are {frame.columns}, expected {list(COLUMNS)}")
    if frame.schema["timestamp"].is_temporal():
        frame = frame.with_columns(polars.col("timestamp").dt.epoch("ms"))
    yield from enumerate(frame.iter_rows(), 1)


def _take(path: Path, rows: Iterable[tuple[int, Any]], table: CandleTable) -> None:
    previous = table.open_ms[-1] if len(table) else -1
    infinity = math.inf
    append = table.append
    for line, row in rows:
        try:
            stamp, first, top, bottom, last, amount = row
            open_ms = int(stamp)
            open_, high, low, close, volume = float(first), float(top), float(bottom), float(last), float(amount)
        except (ValueError, TypeError):
            _refuse_form(path, line, row)
        # one comparison chain for the usual case; a NaN makes it false
        if not (
            0 < low <= open_ <= high < infinity
            and low <= close <= high
            and 0 <= volume < infinity
            and open_ms > previous
            and open_ms % MINUTE_MS == 0
        ):
            _refuse_values(path, line, open_ms, (open_, high, low, close), volume, previous)
        previous = open_ms
        append(open_ms, open_, high, low, close, volume)


def _refuse_form(path: Path, line: int, row: Any) -> NoReturn:
    shown = b",".join(row).strip().decode(errors="replace") if isinstance(row, list) else row
    raise MarketDataError(
        f"{path}:{line}: {str(shown)[:120]!r} is no candle; expected six numbers: {','.join(COLUMNS)}"
    )


def _refuse_values(
    path: Path,
    line: int,
    open_ms: int,
    prices: tuple[float, float, float, float],
    volume: float,
    previous: int,
) -> NoReturn:
    open_, high, low, close = prices
    if not all(map(math.isfinite, (*prices, volume))):
        found = "NaN or infinity; expected finite numbers"
    elif min(prices) <= 0:
        found = f"a price of {min(prices)}; expected prices above 0"
    elif volume < 0:
        found = f"volume {volume}; expected 0 or more"
    elif high < low:
        found = f"high {high} below low {low}"
    elif not low <= open_ <= high or not low <= close <= high:
        found = f"open {open_} or close {close} outside low {low} to high {high}"
    elif open_ms == previous:
        found = f"timestamp {open_ms} twice"
    elif open_ms < previous:
        found = f"timestamp {open_ms} after {previous}; expected rising times"
    else:
        found = f"timestamp {open_ms}; expected a whole minute in Unix milliseconds"
    raise MarketDataError(f"{path}:{line}: {found}; correct or remove the row")
