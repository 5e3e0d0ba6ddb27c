"""All values that were ever fetched, for training: Parquet by source and UTC day of the fetch."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from levibot.bus.messages import AltData
from levibot.durable import read_bytes, set_aside, write_atomic
from levibot.parquet import read_parquet

if TYPE_CHECKING:
    import polars

_DAY_MS = 86_400_000
_ORDER = ("fetched_ms", "asset", "name", "source")


class History:
    """The files below a folder: ``FOLDER/coin-metrics/2026-01-31.parquet``.

    A value that was not known at a minute must not be seen by what is trained on that minute. So each is kept
    with the time of its fetch, again at each fetch. Calls read and write files, so they belong in a thread.

    Parameters
    ----------
    folder
        Of all sources.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, values: Iterable[AltData]) -> None:
        """Add values; one that is there already is not added again.

        Raises
        ------
        DataStoreError
            If the disk refuses; what was there is whole.
        """
        days: dict[tuple[str, int], list[AltData]] = defaultdict(list)
        for value in values:
            days[value.source, value.fetched_ms // _DAY_MS].append(value)
        for (source, day), rows in days.items():
            self._add(self._path(source, day), rows)

    def read(self, assets: Sequence[str], from_ms: int, until_ms: int) -> polars.DataFrame:
        """Values of `assets` that were fetched in a span, in the order of their fetches.

        Parameters
        ----------
        assets
            Base assets; "" for what is of the whole market.
        from_ms, until_ms
            Unix ms; the end is not part of it.

        Returns
        -------
        polars.DataFrame
            With the columns of `AltData`. Join a bar with the last row of a name whose `fetched_ms` is not after
            the bar's close and whose `expires_ms` is after it (`join_asof`, backward).
        """
        import polars as pl

        days = range(from_ms // _DAY_MS, (until_ms - 1) // _DAY_MS + 1) if until_ms > from_ms else range(0)
        wanted = {f"{_day(day)}.parquet" for day in days}
        files = [path for path in sorted(self._folder.glob("*/*.parquet")) if path.name in wanted]
        frames = [frame for path in files if (frame := _read(path)) is not None]
        whole = pl.concat([_empty(), *frames])
        in_span = pl.col("fetched_ms").is_between(from_ms, until_ms, closed="left")
        return whole.filter(in_span & pl.col("asset").is_in(list(assets))).sort(_ORDER)

    def values(self, assets: Sequence[str], from_ms: int, until_ms: int) -> list[AltData]:
        """The same as messages."""
        return [AltData(*row) for row in self.read(assets, from_ms, until_ms).iter_rows()]

    def _path(self, source: str, day: int) -> Path:
        return self._folder / source / f"{_day(day)}.parquet"

    def _add(self, path: Path, values: Sequence[AltData]) -> None:
        import polars as pl

        rows = [[getattr(value, name) for name in AltData.__struct_fields__] for value in values]
        new = pl.DataFrame(rows, schema=_empty().schema, orient="row")
        old = _read(path)
        if old is None and read_bytes(path) is not None:  # one that cannot be read is not damaged
            set_aside(path)
        frame = pl.concat([new if old is None else old, new]).unique(_ORDER, keep="first").sort(_ORDER)
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        write_atomic(path, buffer.getvalue())


def _empty() -> polars.DataFrame:
    import polars as pl

    kinds = {"value": pl.Float64, "observed_ms": pl.Int64, "fetched_ms": pl.Int64, "expires_ms": pl.Int64}
    return pl.DataFrame(schema={name: kinds.get(name, pl.String) for name in AltData.__struct_fields__})


def _read(path: Path) -> polars.DataFrame | None:
    """What a file holds; None if there is none, or nothing usable in it."""
    import polars as pl

    try:
        frame = read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return None
    return frame if frame.schema == _empty().schema else None


def _day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * _DAY_MS / 1000, UTC):%Y-%m-%d}"
