"""Features by symbol and day of UTC as Parquet files, for whoever studies them; a training computes its own.

A file is named by what is in it: the day. That it is up to date, its metadata say: the identity of the features,
and a digest of all that the day was made from. So a second build writes nothing, and a day of which more bars, or
other ones, are there is made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from levibot.bus.messages import AltData
from levibot.durable import write_atomic
from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.ml.features import FEATURE_SET, FEATURES, WINDOW
from levibot.ml.features.altdata import feature_name
from levibot.ml.features.registry import ALTDATA_FEATURES
from levibot.ml.features.vectorised import feature_frame
from levibot.ml.history import BarColumns, History, Source
from levibot.parquet import read_metadata
from levibot.symbols import on_disk

DAY_MS = 1440 * MINUTE_MS
_WARM_UP_MS = (WINDOW + 1) * MINUTE_MS  # the context ends, and so begins, a minute earlier
_METADATA = "levibot"
_BARS = ("open", "high", "low", "close", "volume", "synthetic")


class Built(NamedTuple):
    """How many days a build has written, and how many it found as they should be."""

    written: int
    kept: int


class FeatureStore:
    """The files of one exchange: ``FOLDER/binance/BTC-USDT/2026-01-31.parquet``.

    Columns: ``symbol``, ``ts`` (opening time of the bar, Unix ms), the bar, ``judged`` (whether it has features),
    and `FEATURES`, null where it has none, NaN where one is missing.

    Parameters
    ----------
    folder
        Of all exchanges.
    exchange
        Whose candles; those of two exchanges are never mixed.
    """

    def __init__(self, folder: Path, exchange: str) -> None:
        self.folder = folder / exchange

    def path(self, symbol: str, day_ms: int) -> Path:
        """File of the day that begins at `day_ms`."""
        return self.folder / on_disk(symbol) / f"{datetime.fromtimestamp(day_ms / 1000, UTC):%Y-%m-%d}.parquet"

    def build(self, symbol: str, source: Source, from_ms: int, report: Callable[[int], None]) -> Built:
        """Make the days of a symbol that are missing, or not as they should be.

        A day is never cut: give all bars that there are of the last one.

        Parameters
        ----------
        symbol
            Canonical.
        source
            With bars before the first day, for its warm-up, where there are any.
        from_ms
            Days that begin earlier are left alone.
        report
            Told how many bars are done since it was told last.

        Raises
        ------
        MarketDataError
            If a bar is none, or bars are not in order of time.
        DataStoreError
            If the disk refuses; each file is whole.
        """
        written = kept = 0
        for day_ms in _days(source.bars, from_ms):
            part = _of_day(source, day_ms)
            identity = {"feature_set": FEATURE_SET, "symbol": symbol, "sha256": _digest(part)}
            path = self.path(symbol, day_ms)
            if _identity(path) == identity:
                kept += 1
            else:
                write_atomic(path, _parquet(_rows(symbol, part, day_ms), identity))
                written += 1
            report(int(part.bars["open_ms"].ge(day_ms).sum()))
        return Built(written, kept)

    def scan(self, symbols: Iterable[str], from_ms: int, until_ms: int) -> pl.LazyFrame:
        """Rows of a span in order of symbol and time, to be filtered further before they are read.

        Parameters
        ----------
        symbols
            Canonical.
        from_ms, until_ms
            Opening times, Unix ms; the end is not part of it.

        Raises
        ------
        TrainingError
            If a symbol has none, or a file holds features of another LeviBot; the text gives the remedy.
        """
        files = [path for symbol in symbols for path in self._files(symbol, from_ms, until_ms)]
        rows = pl.scan_parquet(files, glob=False)
        return rows.filter(pl.col("ts").is_between(from_ms, until_ms, closed="left"))

    def histories(self, symbols: Iterable[str], from_ms: int, until_ms: int) -> dict[str, History]:
        """What `Material.histories` gives of the bars of a span, but that its first bars have their warm-up.

        Raises
        ------
        TrainingError
            As `scan`.
        """
        return {symbol: _history(self.scan([symbol], from_ms, until_ms).collect()) for symbol in symbols}

    def _files(self, symbol: str, from_ms: int, until_ms: int) -> list[Path]:
        folder = self.folder / on_disk(symbol)
        days = ((_day_ms(path), path) for path in sorted(folder.glob("????-??-??.parquet")))
        paths = [path for day_ms, path in days if from_ms - DAY_MS < day_ms < until_ms]
        again = "build them with `levibotctl features build`"
        if not paths:
            raise TrainingError(f"{folder}: no features of {symbol} in this span; {again}")
        for path in paths:
            if (_identity(path) or {}).get("feature_set") != FEATURE_SET:
                raise TrainingError(f"{path} does not hold the features of this LeviBot; {again}")
        return paths


def _day_ms(path: Path) -> int:
    return int(datetime.fromisoformat(f"{path.stem}T00:00Z").timestamp()) * 1000


def _days(bars: pl.DataFrame, from_ms: int) -> Iterator[int]:
    """Beginnings of the days that have bars."""
    found = (bars["open_ms"] // DAY_MS * DAY_MS).unique().sort()
    yield from (day_ms for day_ms in found.to_list() if day_ms >= from_ms)


def _of_day(source: Source, day_ms: int) -> Source:
    """What the rows of a day are made from, and no more."""
    context = None if source.context is None else _span(source.context, day_ms)
    return Source(_span(source.bars, day_ms), context, _known(source.altdata, day_ms))


def _span(bars: pl.DataFrame, day_ms: int) -> pl.DataFrame:
    begin, end = np.searchsorted(bars["open_ms"].to_numpy(), (day_ms - _WARM_UP_MS, day_ms + DAY_MS)).tolist()
    return bars.slice(begin, end - begin)


def _known(altdata: Sequence[AltData], day_ms: int) -> list[AltData]:
    """The values that count on a day: those fetched on it, and of each name the last one before."""
    before: dict[str, AltData] = {}
    on_it = []
    for data in altdata:
        name = feature_name(data)
        if name not in ALTDATA_FEATURES or data.fetched_ms >= day_ms + DAY_MS:
            continue
        if data.fetched_ms > day_ms:
            on_it.append(data)
        elif name not in before or before[name].fetched_ms <= data.fetched_ms:
            before[name] = data
    return [*before.values(), *on_it]


def _digest(part: Source) -> str:
    digest = hashlib.sha256()
    for frame in (part.bars, part.context):
        for column in () if frame is None else frame.get_columns():
            digest.update(column.to_numpy().tobytes())
        digest.update(b"|")
    for data in part.altdata:
        digest.update(repr((feature_name(data), data.value, data.fetched_ms, data.expires_ms)).encode())
    return digest.hexdigest()


def _rows(symbol: str, part: Source, day_ms: int) -> pl.DataFrame:
    features = feature_frame(part.bars, part.context, part.altdata).with_columns(judged=pl.lit(value=True))
    return (
        part.bars.filter(pl.col("open_ms") >= day_ms)
        .select("open_ms", *_BARS)
        .join(features, on="open_ms", how="left", maintain_order="left")
        .select(
            pl.lit(symbol).alias("symbol"),
            pl.col("open_ms").alias("ts"),
            *_BARS,
            pl.col("judged").fill_null(value=False),
            *FEATURES,
        )
    )


def _parquet(rows: pl.DataFrame, identity: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, metadata={_METADATA: json.dumps(identity)})
    return buffer.getvalue()


def _identity(path: Path) -> dict[str, str] | None:
    """What a file says of itself; None if there is none, or it is cut off, or somebody else's."""
    if not path.is_file():
        return None
    try:
        found = json.loads(read_metadata(path)[_METADATA])
    except (pl.exceptions.PolarsError, KeyError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _history(rows: pl.DataFrame) -> History:
    bars = rows.rename({"ts": "open_ms"})
    judged = rows["judged"].to_numpy()
    features = rows.filter("judged").select(FEATURES).to_numpy()
    return History(
        BarColumns(*(bars[name].to_numpy() for name in BarColumns._fields)),
        np.flatnonzero(judged).astype(np.int64),
        np.ascontiguousarray(features),
    )
