"""What was fetched is found again by the time of its fetch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from levibot.altdata.history import History
from levibot.errors import DataStoreError
from tests.altdata.test_board import HOUR_MS, NOW_MS, value

DAY_MS = 24 * HOUR_MS


def test_values_are_found_by_asset_and_span_in_the_order_of_their_fetches(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append([value("fees", NOW_MS + DAY_MS), value("fees", NOW_MS)])
    history.append([value("fees", NOW_MS + 60_000, source="mempool"), value("fees", NOW_MS, asset="ETH")])
    frame = history.read(["BTC"], NOW_MS, NOW_MS + 2 * DAY_MS)
    assert frame["fetched_ms"].to_list() == [NOW_MS, NOW_MS + 60_000, NOW_MS + DAY_MS]
    assert frame["source"].to_list() == ["coin-metrics", "mempool", "coin-metrics"]
    assert history.read(["BTC"], NOW_MS, NOW_MS + DAY_MS).height == 2
    assert history.values(["ETH"], 0, NOW_MS * 2) == [value("fees", NOW_MS, asset="ETH")]
    assert history.read(["BTC", "ETH"], NOW_MS, NOW_MS + 1).height == 2
    assert history.read(["BTC"], NOW_MS, NOW_MS).is_empty()
    assert {path.parent.name for path in tmp_path.rglob("*.parquet")} == {"coin-metrics", "mempool"}


def test_a_value_is_kept_once_however_often_it_is_added(tmp_path: Path) -> None:
    history = History(tmp_path)
    for _ in range(3):
        history.append([value("fees"), value("fees")])
    assert history.read(["BTC"], 0, NOW_MS * 2).height == 1


def test_a_bar_never_sees_what_was_fetched_after_it_nor_what_had_expired(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append([value("fees", NOW_MS), value("fees", NOW_MS + DAY_MS)])
    bars = pl.DataFrame({"close_ms": [NOW_MS - 1, NOW_MS, NOW_MS + 2 * HOUR_MS - 1, NOW_MS + 2 * HOUR_MS]})
    known = bars.join_asof(
        history.read(["BTC"], 0, NOW_MS * 2), left_on="close_ms", right_on="fetched_ms", coalesce=False
    )
    live = known.select(pl.when(pl.col("close_ms") < pl.col("expires_ms")).then(pl.col("value")))
    assert live["value"].to_list() == [None, 1.5, 1.5, None]


def flipped(content: bytes) -> bytes:
    """One byte is another: this Polars panics, which is no `Exception`."""
    return content[:73] + b"\0" + content[74:]


@pytest.mark.parametrize("damage", [lambda content: content[:-20], flipped], ids=["cut off", "one byte"])
def test_a_damaged_day_is_set_aside_and_begun_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    history = History(tmp_path)
    history.append([value("fees")])
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(damage(path.read_bytes()))
    assert history.read(["BTC"], 0, NOW_MS * 2).is_empty()
    history.append([value("fees", NOW_MS + 1)])
    assert history.read(["BTC"], 0, NOW_MS * 2)["fetched_ms"].to_list() == [NOW_MS + 1]
    assert list(path.parent.glob("*.corrupt-*"))


def test_a_day_that_cannot_be_read_stays_where_it_is(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append([value("fees")])
    (path,) = tmp_path.rglob("*.parquet")
    whole = path.rename(path.with_suffix(".away"))
    path.mkdir()  # reads as EISDIR, whoever the user is
    with pytest.raises(DataStoreError, match="cannot be read"):
        history.append([value("fees", NOW_MS + 1)])
    path.rmdir()
    whole.rename(path)
    assert history.read(["BTC"], 0, NOW_MS * 2)["fetched_ms"].to_list() == [NOW_MS]


def test_nothing_recorded_is_an_empty_frame_with_all_columns(tmp_path: Path) -> None:
    frame = History(tmp_path / "none").read(["BTC"], 0, NOW_MS)
    assert frame.columns == ["asset", "name", "value", "source", "observed_ms", "fetched_ms", "expires_ms"]
