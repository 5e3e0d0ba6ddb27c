"""Candles of one symbol in a folder of Parquet files, one a day of UTC; a file says how far it is complete."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from levibot.durable import write_atomic
from levibot.errors import ConfigError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import COLUMNS
from levibot.parquet import read_metadata, read_parquet
from levibot.symbols import on_disk

if TYPE_CHECKING:
    import polars

DAY_MS = 1440 * MINUTE_MS
_METADATA = "levibot"


class _Stored(NamedTuple):
    """What a file says of itself."""

    complete_until_ms: int
    asked_ms: int | None


class CandleDays:
    """The files of one symbol: ``FOLDER/BTC-USDT/BTC-USDT-1m-2024-05-01.parquet``.

    Calls read and write files, so they belong in a thread.

    Parameters
    ----------
    folder
        Of all symbols of one exchange.
    exchange
        Where they come from; candles of two exchanges are never mixed.
    symbol
        Canonical.
    """

    def __init__(self, folder: Path, exchange: str, symbol: str) -> None:
        self.folder = folder / on_disk(symbol)
        self._exchange = exchange
        self._symbol = symbol

    def path(self, day_ms: int) -> Path:
        """File of the day that begins at `day_ms`."""
        day = datetime.fromtimestamp(day_ms / 1000, UTC)
        return self.folder / f"{on_disk(self._symbol)}-1m-{day:%Y-%m-%d}.parquet"

    def complete_until_ms(self, day_ms: int) -> int | None:
        """Up to when the file of a day holds all that the exchange has; None: no usable file.

        What it says of itself counts only if its bars can be read: damage may be anywhere in it.

        Raises
        ------
        ConfigError
            If the file holds candles of another exchange.
        """
        stored = self._stored(day_ms)
        return None if stored is None or self._frame(day_ms, COLUMNS) is None else stored.complete_until_ms

    def asked_ms(self, day_ms: int) -> int | None:
        """When the exchange was asked for a day, its own time; None: never, or nobody wrote it down.

        Raises
        ------
        ConfigError
            As `complete_until_ms`.
        """
        stored = self._stored(day_ms)
        return None if stored is None else stored.asked_ms

    def _stored(self, day_ms: int) -> _Stored | None:
        import polars

        path = self.path(day_ms)
        if not path.is_file():
            return None
        try:
            stored = orjson.loads(read_metadata(path)[_METADATA])
            exchange, until_ms = stored["exchange"], stored["complete_until_ms"]
            asked_ms = stored.get("asked_ms")
        except (polars.exceptions.PolarsError, orjson.JSONDecodeError, KeyError, TypeError):
            return None  # cut off, or somebody else's: it is fetched again
        if exchange != self._exchange:
            raise ConfigError(
                f"{path} holds candles of {exchange}, not of {self._exchange}; name another folder with --folder"
            )
        if not isinstance(until_ms, int):
            return None
        return _Stored(until_ms, asked_ms if isinstance(asked_ms, int) else None)

    def write(self, day_ms: int, candles: Sequence[Candle], until_ms: int, asked_ms: int) -> None:
        """Replace the file of a day, whole or not at all. Stored bars that are not given again stay.

        An exchange may tell of its newest bars only, or lack today what it had yesterday.

        Parameters
        ----------
        day_ms
            Beginning of the day.
        candles
            Of this day, oldest first.
        until_ms
            Up to when they are all that the exchange has.
        asked_ms
            When it was asked, the exchange's time.

        Raises
        ------
        DataStoreError
            If it cannot be written.
        """
        import polars

        bars = {row[0]: row for row in self._bars(day_ms)} | {row[0]: row for row in candles}
        rows = [bars[open_ms] for open_ms in sorted(bars)]
        columns: dict[str, Any] = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
        schema = {name: polars.Int64 if name == "timestamp" else polars.Float64 for name in COLUMNS}
        stored = {
            "exchange": self._exchange,
            "symbol": self._symbol,
            "complete_until_ms": until_ms,
            "asked_ms": asked_ms,
        }
        buffer = io.BytesIO()
        polars.DataFrame(columns, schema=schema).write_parquet(
            buffer, metadata={_METADATA: orjson.dumps(stored).decode()}
        )
        write_atomic(self.path(day_ms), buffer.getvalue())

    def _bars(self, day_ms: int) -> list[tuple[Any, ...]]:
        """What is stored of a day; nothing of a file that is not usable."""
        frame = None if self._stored(day_ms) is None else self._frame(day_ms, COLUMNS)
        return [] if frame is None else frame.rows()

    def _frame(self, day_ms: int, columns: Sequence[str]) -> polars.DataFrame | None:
        """Some columns of a day; None if there is no file, or it is damaged."""
        import polars

        path = self.path(day_ms)
        if not path.is_file():
            return None
        try:
            return read_parquet(path, columns)
        except polars.exceptions.PolarsError:
            return None

    def times(self, from_ms: int, until_ms: int) -> Iterator[tuple[int, float]]:
        """Opening time and volume of each stored bar in a span, oldest first; of damaged files none."""
        for day_ms in range(from_ms // DAY_MS * DAY_MS, until_ms, DAY_MS):
            frame = self._frame(day_ms, ("timestamp", "volume"))
            if frame is not None:
                yield from ((ms, volume) for ms, volume in frame.iter_rows() if from_ms <= ms < until_ms)

    def has_holes(self, day_ms: int, until_ms: int) -> bool:
        """Whether fewer bars of a day are stored than there are minutes until `until_ms`."""
        end_ms = min(day_ms + DAY_MS, until_ms)
        return sum(1 for _ in self.times(day_ms, end_ms)) < (end_ms - day_ms) // MINUTE_MS
