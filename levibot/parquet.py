"""Parquet files as a disk left them: read, or refused as Polars refuses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> polars.DataFrame:
    """The table of a file, or some of its columns.

    Raises
    ------
    polars.exceptions.PolarsError
        If it is damaged, or no such file.
    OSError
        If it cannot be read.
    """
    import polars as pl

    with _without_panic(path):
        return pl.read_parquet(path, columns=None if columns is None else list(columns))


def read_metadata(path: Path) -> dict[str, str]:
    """What the writer of a file says of it; errors as of `read_parquet`."""
    import polars as pl

    with _without_panic(path):
        return pl.read_parquet_metadata(path)


@contextmanager
def _without_panic(path: Path) -> Iterator[None]:
    """Of a file that is damaged in some places Polars raises what is no `Exception`, and would end a process."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PanicException as panic:
        raise pl.exceptions.ComputeError(f"{path} is damaged: {panic!s:.200}") from panic
