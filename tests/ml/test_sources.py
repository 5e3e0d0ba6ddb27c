"""Candles for a training: of the span before the feed goes live, whole, or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from levibot.config_market import FeedConfig
from levibot.errors import ConfigError, MarketDataError, TrainingError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import COLUMNS
from levibot.market.gaps import Hole
from levibot.market.recording import Opening
from levibot.market.simulated import ORIGIN_MS, SimulatedRecording
from levibot.ml.features import FEATURES, OPTIONAL_FEATURES
from levibot.ml.sources import of_downloads, of_feed, of_folder
from tests.market.recordings import bar, every_kind, history, minute, studio
from tests.ml.examples import START_MS, walk

DAY_MS = 86_400_000


def write(folder: Path, name: str, bars: list[Candle]) -> Path:
    path = folder / f"{name}-1m.csv"
    rows = [f"{b.open_ms},{b.open},{b.high},{b.low},{b.close},{b.volume}" for b in bars]
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


def test_the_simulated_history_ends_where_the_market_goes_live_and_is_what_engines_start_from() -> None:
    found = of_feed(FeedConfig(seed=5), ("BTC/USDT", "ETH/USDT"), 2, None)
    bars = {symbol: list(items) for symbol, items in found.by_symbol.items()}
    assert found.bars == sum(map(len, bars.values())) == 2 * 2 * 1440
    assert all(items[-1].open_ms == ORIGIN_MS - MINUTE_MS for items in bars.values())
    history = SimulatedRecording(5).open("BTC/USDT", Opening(ORIGIN_MS, 1500, 120, None)).history
    assert bars["BTC/USDT"][-1500:] == history


def test_it_follows_the_start_of_the_feed_and_may_end_earlier() -> None:
    feed = FeedConfig(start="2025-03-01T00:00:00Z")
    *_, last = of_feed(feed, ("BTC/USDT",), 2, None).by_symbol["BTC/USDT"]
    assert isinstance(last, Candle)
    assert last.close_ms == 1_740_787_200_000
    *_, last = of_feed(feed, ("BTC/USDT",), 2, "2025-02-28").by_symbol["BTC/USDT"]
    assert isinstance(last, Candle)
    assert last.close_ms == 1_740_700_800_000
    with pytest.raises(ConfigError, match="--until = 'yesterday': expected a UTC time"):
        of_feed(feed, ("BTC/USDT",), 2, "yesterday")


def test_many_simulated_symbols_take_fewer_days_each() -> None:
    symbols = [f"S{n}/USDT" for n in range(20)]
    assert of_feed(FeedConfig(context=""), symbols[:1], None, None).bars == 5 * 1440
    assert of_feed(FeedConfig(context=""), symbols, None, None).bars == 20 * 2 * 1440


def test_the_leading_market_comes_along_whether_it_is_asked_for_or_not(tmp_path: Path) -> None:
    played = of_feed(FeedConfig(), ("ETH/USDT",), 2, None)
    assert (played.leads, played.bars, played.symbols) == ("BTC/USDT", 4 * 1440, ("ETH/USDT",))
    assert list(played.leading or ()) == list(of_feed(FeedConfig(), ("BTC/USDT",), 2, None).by_symbol["BTC/USDT"])
    write(tmp_path, "BTCUSDT", list(walk(3 * 1440)))
    write(tmp_path, "ETHUSDT", list(walk(2 * 1440)))
    beside = of_folder(tmp_path, ("ETH/USDT",), 1, None, 120, "BTC/USDT")
    assert (beside.leads, beside.bars, beside.notes) == ("BTC/USDT", 2 * 1440, ())
    assert [bar.open_ms for bar in beside.leading or () if isinstance(bar, Candle)] == [
        bar.open_ms for bar in beside.by_symbol["ETH/USDT"] if isinstance(bar, Candle)
    ]
    among = of_folder(tmp_path, ("BTC/USDT", "ETH/USDT"), None, None, 120, "BTC/USDT")
    assert (among.leads, among.bars, among.leading) == ("BTC/USDT", 5 * 1440, None)


def test_a_leading_market_that_is_missing_is_told_and_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path, "ETHUSDT", list(walk(200)))
    found = of_folder(tmp_path, ("ETH/USDT",), None, None, 120, "BTC/USDT")
    (note,) = found.notes
    assert "no candles of BTC/USDT, the leading market" in note
    assert found.leads == ""
    (history,) = found.histories(lambda *_step: None)
    missing = np.isnan(history.features).all(axis=0)
    assert {name for name, gone in zip(FEATURES, missing, strict=True) if gone} == OPTIONAL_FEATURES


def test_files_are_cut_to_the_days_asked_for_and_gaps_are_flagged(tmp_path: Path) -> None:
    bars = list(walk(3 * 1440))
    write(tmp_path, "BTCUSDT", [*bars[:4000], *bars[4010:]])
    found = of_folder(tmp_path, ("BTC/USDT",), 2, None, 120)
    assert found.bars == 2 * 1440 - 10
    items = list(found.by_symbol["BTC/USDT"])
    assert [item for item in items if isinstance(item, Hole)] == [Hole(bars[4000].open_ms, 10, True)]
    assert sum(item.synthetic for item in items if isinstance(item, Candle)) == 10
    first = items[0]
    assert isinstance(first, Candle)
    assert first.open_ms == START_MS + DAY_MS
    with pytest.raises(TrainingError, match=r"no candles in the span.*--until"):
        of_folder(tmp_path, ("BTC/USDT",), None, "2001-01-01", 120)


def test_a_replay_trains_on_what_comes_before_it_or_says_that_it_does_not(tmp_path: Path) -> None:
    bars = list(walk(1440))
    write(tmp_path, "BTCUSDT", bars)
    feed = FeedConfig(source="replay", path=tmp_path)
    everything = of_feed(feed, ("BTC/USDT",), None, None)
    assert everything.bars == 1440
    assert "has seen" in everything.notes[0]
    before = of_feed(feed.model_copy(update={"start": "2025-01-01T12:00:00Z"}), ("BTC/USDT",), None, None)
    assert before.bars == 720
    assert before.notes == ()


def test_downloads_that_are_missing_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    symbols = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
    with pytest.raises(MarketDataError, match=r"`levibotctl download --exchange mexc --symbols BTC/USDT,ETH/USDT"):
        of_downloads(tmp_path / "mexc", "mexc", symbols, None, None, 120)
    write(tmp_path, "BTC-USDT", list(walk(100)))
    with pytest.raises(MarketDataError, match=r"--symbols ETH/USDT,SOL/USDT --since 20\d\d-\d\d-\d\d`, then"):
        of_downloads(tmp_path, "mexc", symbols, None, None, 120)
    assert of_downloads(tmp_path, "mexc", symbols[:1], None, None, 120).bars == 100


def test_what_a_feed_recorded_is_trained_on_as_the_exchange_corrected_it(tmp_path: Path) -> None:
    with studio(tmp_path) as made:
        made.open()
        made.play(every_kind())
        made.open("ETH/USDT", [bar(0)._replace(synthetic=True)])
        flow = bar(0)._replace(buy_volume=0.5, trades=3.0, spread=1e-4, imbalance=-0.25)
        made.open("SOL/USDT", [flow])
    found = of_folder(tmp_path, ("BTC/USDT",), None, None, 120)
    items = list(found.by_symbol["BTC/USDT"])
    hole = items.index(Hole(minute(2), 3, True))
    assert items[:hole] == [*history(), bar(0), bar(1, 99.0)]
    assert [item.synthetic for item in items[hole + 1 :] if isinstance(item, Candle)] == [True] * 3 + [False] * 5
    assert found.bars == 20 + 7
    assert list(of_folder(tmp_path, ("SOL/USDT",), None, None, 120).by_symbol["SOL/USDT"]) == [flow]
    with pytest.raises(MarketDataError, match=r"ETH-USDT-.*levifeed: no bars; record for longer"):
        of_folder(tmp_path, ("ETH/USDT",), None, None, 120)


def test_missing_and_bad_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "BTCUSDT", list(walk(10)))
    with pytest.raises(MarketDataError, match=r"no candles of ETH/USDT; expected .*ETHUSDT-1m.csv.gz.*--symbols"):
        of_folder(tmp_path, ("BTC/USDT", "ETH/USDT"), None, None, 120)
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(MarketDataError, match=r"BTCUSDT-1m\.csv:12: 'nonsense' is no candle"):
        of_folder(tmp_path, ("BTC/USDT",), None, None, 120)
