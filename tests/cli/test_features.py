"""`levibotctl features`, as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from levibot.ml.features import FEATURE_SET, FEATURES
from tests.cli.conftest import Place
from tests.cli.test_train import candles


def test_the_list_names_every_feature_with_its_window_and_meaning(place: Place) -> None:
    listed = json.loads(place.ctl("features", "list", "--json").stdout)
    assert listed["feature_set"] == FEATURE_SET
    assert [feature["name"] for feature in listed["features"]] == list(FEATURES)
    assert listed["features"][0] == {
        "name": "return_1",
        "group": "bars",
        "window": 2,
        "meaning": "Return over 1 bars.",
        "version": 1,
        "optional": False,
    }


def test_features_are_built_once_by_day_with_the_context(place: Place, tmp_path: Path) -> None:
    for symbol, seed in (("BTCUSDT", 1), ("ETHUSDT", 2)):
        candles(tmp_path, symbol, 2 * 1440 + 30, seed)
    command = ("features", "build", "--candles", str(tmp_path), "--symbols", "ETH/USDT", "--exchange", "binance")
    done = place.ctl(*command, "--days", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 days written, 0 found as they should be")
    assert done.stderr.splitlines() == ["reading candles (5,820)", "computing features (1,470)"]
    done = place.ctl(*command, "--json")
    folder = place.data / "features" / "binance"
    assert json.loads(done.stdout) == {"folder": str(folder), "written": 1, "kept": 2}
    days = pl.read_parquet(folder / "ETH-USDT" / "*.parquet")
    assert days.height == 2 * 1440 + 30
    known = days.filter("judged").select(pl.col("context_return_1").is_not_nan().mean()).item()
    assert known > 0.99
