"""Days of features on disk: as computed in memory, made once, made anew when they should be others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from levibot.bus.messages import AltData
from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.ml import feature_store
from levibot.ml.feature_store import DAY_MS, Built, FeatureStore
from levibot.ml.features import FEATURES, WINDOW
from levibot.ml.features.registry import ALTDATA_FEATURES
from levibot.ml.history import History, Source, history_of
from tests.ml.examples import walk
from tests.ml.features.streams import frame, with_flow

BEGIN_MS = 20_000 * DAY_MS + 15 * 60 * MINUTE_MS  # in the afternoon
BARS = with_flow(list(walk(2500, start_ms=BEGIN_MS)), seed=1)  # of three days
SOURCE = Source(
    frame(BARS),
    frame(walk(2500, seed=9, start_ms=BEGIN_MS)),
    [
        AltData("ETH", "funding_rate", 0.1 * hour, "a", 0, BEGIN_MS + hour * 60 * MINUTE_MS, BEGIN_MS + 2 * DAY_MS)
        for hour in (3, 1, 30)
    ],
)
ETH = "ETH/USDT"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features", "binance")


def build(store: FeatureStore, source: Source = SOURCE, symbol: str = ETH, from_ms: int = 0) -> Built:
    return store.build(symbol, source, from_ms, lambda _more: None)


def stamps(store: FeatureStore) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in store.folder.rglob("*.parquet")}


def assert_same(found: History, expected: History) -> None:
    for one, other in zip(found.bars, expected.bars, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.judged, expected.judged)
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-9, atol=1e-13)


def test_what_is_read_is_what_is_computed_in_memory_across_midnight_too(store: FeatureStore) -> None:
    reported: list[int] = []
    assert store.build(ETH, SOURCE, 0, reported.append) == Built(written=3, kept=0)
    assert sum(reported) == len(BARS)
    found = store.histories([ETH], 0, 2**53)[ETH]
    assert_same(found, history_of(SOURCE))
    known = np.isfinite(found.features).any(axis=0).tolist()
    missing = {name for name, is_known in zip(FEATURES, known, strict=True) if not is_known}
    assert missing == {name for name in ALTDATA_FEATURES if name != "funding_rate"}
    assert [path.name for path in sorted((store.folder / "ETH-USDT").iterdir())] == [
        "2024-10-04.parquet",
        "2024-10-05.parquet",
        "2024-10-06.parquet",
    ]


def test_each_bar_is_there_once_with_what_labels_need(store: FeatureStore) -> None:
    build(store)
    build(store, symbol="SOL/USDT")
    rows = store.scan([ETH, "SOL/USDT"], BEGIN_MS, BEGIN_MS + DAY_MS).collect()
    assert rows.height == 2 * 1440 == rows.unique(["symbol", "ts"]).height
    assert rows.columns[:9] == ["symbol", "ts", "open", "high", "low", "close", "volume", "synthetic", "judged"]
    assert rows.columns[9:] == list(FEATURES)
    assert rows.filter(symbol=ETH)["judged"].to_list() == [False] * (WINDOW - 1) + [True] * (1441 - WINDOW)


def test_a_second_build_writes_nothing(store: FeatureStore) -> None:
    build(store)
    before = stamps(store)
    assert build(store) == Built(written=0, kept=3)
    assert stamps(store) == before


def changed(place: int) -> Source:
    bars = [*BARS]
    bars[place] = bars[place]._replace(volume=4321.0)
    return SOURCE._replace(bars=frame(bars))


FIRST_MIDNIGHT = 9 * 60  # place of the first bar of the second day


@pytest.mark.parametrize(
    ("source", "days"),
    [
        pytest.param(changed(10), ["2024-10-04"], id="a bar"),
        pytest.param(changed(FIRST_MIDNIGHT - 30), ["2024-10-04", "2024-10-05"], id="warm-up of the next"),
        pytest.param(changed(FIRST_MIDNIGHT + 30), ["2024-10-05"], id="the day before does not see it"),
        pytest.param(SOURCE._replace(context=None), ["2024-10-04", "2024-10-05", "2024-10-06"], id="no context"),
        pytest.param(SOURCE._replace(altdata=SOURCE.altdata[:-1]), ["2024-10-05", "2024-10-06"], id="a value"),
    ],
)
def test_only_days_that_changed_are_made_anew(store: FeatureStore, source: Source, days: list[str]) -> None:
    build(store)
    before = stamps(store)
    assert build(store, source) == Built(len(days), 3 - len(days))
    after = stamps(store)
    assert [name.removesuffix(".parquet") for name in sorted(after) if after[name] != before[name]] == days
    assert_same(store.histories([ETH], 0, 2**53)[ETH], history_of(source))


def test_the_last_day_grows(store: FeatureStore) -> None:
    short = SOURCE._replace(bars=frame(BARS[:-100]))
    assert build(store, short) == Built(written=3, kept=0)
    assert build(store) == Built(written=1, kept=2)
    assert len(store.histories([ETH], 0, 2**53)[ETH].bars.open_ms) == len(BARS)


def test_days_before_the_first_that_is_wanted_only_warm_it_up(store: FeatureStore) -> None:
    midnight = BARS[FIRST_MIDNIGHT].open_ms
    assert build(store, from_ms=midnight) == Built(written=2, kept=0)
    assert store.histories([ETH], 0, 2**53)[ETH].judged[0] == 0
    assert build(store) == Built(written=1, kept=2)


def test_a_damaged_file_is_made_anew(store: FeatureStore) -> None:
    build(store)
    path = store.path(ETH, BEGIN_MS)
    path.write_bytes(path.read_bytes()[:5000])
    assert build(store) == Built(written=1, kept=2)
    assert_same(store.histories([ETH], 0, 2**53)[ETH], history_of(SOURCE))


def test_features_of_another_levibot_are_refused_until_they_are_made_anew(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(store)
    monkeypatch.setattr(feature_store, "FEATURE_SET", "features-of-tomorrow")
    with pytest.raises(TrainingError, match=r"2024-10-04\.parquet does not hold .* `levibotctl features build`"):
        store.histories([ETH], 0, 2**53)
    assert build(store) == Built(written=3, kept=0)
    store.histories([ETH], 0, 2**53)


def test_a_symbol_without_features_is_told_with_the_remedy(store: FeatureStore) -> None:
    with pytest.raises(TrainingError, match="no features of SOL/USDT in this span; build them with"):
        store.scan(["SOL/USDT"], 0, 10 * DAY_MS)


def test_a_hole_stays_open(store: FeatureStore) -> None:
    source = SOURCE._replace(bars=frame([*BARS[:300], *BARS[500:]]))
    build(store, source)
    assert_same(store.histories([ETH], 0, 2**53)[ETH], history_of(source))


def test_a_bar_without_features_has_none_and_one_that_misses_a_feature_has_nan(store: FeatureStore) -> None:
    bars: list[Candle] = [bar._replace(synthetic=n == 700) for n, bar in enumerate(walk(800, start_ms=BEGIN_MS))]
    build(store, Source(frame(bars)))
    rows = store.scan([ETH], 0, 2**53).collect()
    assert rows.row(700, named=True)["judged"] is False
    assert rows.row(700, named=True)["return_1"] is None
    assert math.isnan(rows.row(701, named=True)["context_return_1"])
