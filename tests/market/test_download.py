"""Downloads from the loopback exchange, which plays the real outage of March 2023: whole, resumed, reported."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.config_market import ExchangeConfig
from levibot.errors import ExchangeRefusedError
from levibot.exchange.session import ExchangeSession
from levibot.market import download
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candle_days import DAY_MS, CandleDays
from levibot.market.candles import read_candles
from levibot.market.download import Download, Downloaded
from levibot.market.gaps import Hole, flagged
from levibot.market.recording import Opening
from levibot.market.replay import ReplayRecording
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings
from tests.market.real_data import real_data

SYMBOL = "BTC/USDT"
KLINES = "GET /api/v3/klines"
MARCH_20 = 1_679_270_400_000
MARCH_26 = MARCH_20 + 6 * DAY_MS
OUTAGE = Hole(1_679_661_600_000, 80, False)


class Site:
    """An exchange, and downloads from it into one folder."""

    def __init__(self, exchange: RunningExchange, folder: Path) -> None:
        self.exchange = exchange
        self.folder = folder
        self.days = CandleDays(folder / "candles", exchange.dialect, SYMBOL)
        self.notes: list[str] = []
        self.progress: list[tuple[str, int, int]] = []

    def download(
        self, from_ms: int = MARCH_20, until_ms: int = MARCH_26, symbol: str = SYMBOL, *, again: bool = False
    ) -> Downloaded:
        async def act() -> list[Downloaded]:
            place = self.exchange.connection()
            config = ExchangeConfig(id=place.id, urls=dict(place.urls), requests_per_minute=60_000)
            session = ExchangeSession(place.id, config, "download", self.folder / "state")
            try:
                await session.open()
                report = lambda *step: self.progress.append(step)  # noqa: E731
                job = Download(
                    session,
                    self.folder / "candles",
                    from_ms,
                    until_ms,
                    report,
                    self.notes.append,
                    0.01,
                    again=again,
                )
                return await job.run([symbol])
            finally:
                await session.close()

        return asyncio.run(act())[0]

    def truth(self, from_ms: int = MARCH_20, until_ms: int = MARCH_26) -> list[Candle]:
        bars = self.exchange.exchange.market.symbols[SYMBOL].all_bars(from_ms, until_ms - 1)
        return [
            Candle(bar.open_ms, *(float(v) for v in (bar.open, bar.high, bar.low, bar.close, bar.volume)))
            for bar in bars
        ]

    def stored(self) -> list[Candle]:
        return list(read_candles(self.days.folder).from_index(0))

    def asked(self) -> int:
        return len(self.exchange.log.asked(KLINES))


@pytest.fixture(scope="module", params=["binance", "mexc"])
def recorded(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    folder = real_data("candles", "binance-spot-2023-03")
    settings = Settings(dialect=request.param, symbols=(SYMBOL,), replay=folder, history=100_000, speed=0.001)
    with running(settings) as exchange:
        yield exchange


@pytest.fixture
def site(recorded: RunningExchange, tmp_path: Path) -> Iterator[Site]:
    yield Site(recorded, tmp_path)
    recorded.clear()


def test_it_has_every_bar_once_and_names_the_outage(site: Site) -> None:
    done = site.download()
    assert site.stored() == site.truth()
    assert (done.bars, done.fetched_days, done.error) == (6 * 1440 - 80, 6, "")
    assert done.gaps == [OUTAGE]
    assert done.without_trades == 72
    assert site.progress[-1] == (SYMBOL, 6, 6)
    assert [step[1] for step in site.progress] == sorted(step[1] for step in site.progress)


def test_what_is_there_is_not_fetched_again(site: Site) -> None:
    site.download()
    files = {path: path.stat().st_mtime_ns for path in site.days.folder.iterdir()}
    asked = site.asked()
    again = site.download()
    assert site.asked() == asked
    assert (again.fetched_days, again.bars, again.gaps) == (0, 6 * 1440 - 80, [OUTAGE])
    assert {path: path.stat().st_mtime_ns for path in site.days.folder.iterdir()} == files


def test_old_holes_are_asked_for_again_if_told_to_and_recent_ones_always(site: Site) -> None:
    first = site.download()
    outage_day = OUTAGE.from_ms // DAY_MS * DAY_MS
    again = site.download(again=True)
    assert (again.fetched_days, again.gaps) == (1, [OUTAGE])
    assert again.asked_ms[OUTAGE.from_ms] > first.asked_ms[OUTAGE.from_ms]
    assert site.stored() == site.truth()

    hour = range(MARCH_20 + 60 * MINUTE_MS, MARCH_20 + 120 * MINUTE_MS, MINUTE_MS)
    whole = [bar for bar in site.truth() if bar.open_ms < MARCH_20 + DAY_MS]
    site.days.path(MARCH_20).unlink()
    site.days.write(MARCH_20, [b for b in whole if b.open_ms not in hour], MARCH_20 + DAY_MS, MARCH_20 + DAY_MS)
    assert site.download().gaps == [OUTAGE], "it was asked for just after the day, and the exchange has them now"
    assert site.stored() == site.truth()
    assert site.days.asked_ms(outage_day) == again.asked_ms[OUTAGE.from_ms]


def test_a_download_that_was_stopped_goes_on_where_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_ATTEMPTS", 3)
    site.exchange.arm("status", KLINES, status=503, skip=8)
    stopped = site.download()
    assert "503" in stopped.error
    assert 0 < stopped.fetched_days < 6
    assert site.stored() == site.truth(until_ms=MARCH_20 + stopped.fetched_days * DAY_MS)
    site.exchange.clear()
    rest = site.download()
    assert rest.error == ""
    assert rest.fetched_days == 6 - stopped.fetched_days
    assert site.stored() == site.truth()


def test_no_fault_on_the_way_costs_or_doubles_a_bar(site: Site) -> None:
    for number, kind in enumerate(("reset", "truncated", "html", "bad_json", "null_rows", "lost_answer")):
        site.exchange.arm(kind, KLINES, skip=number, every=3, times=2)
    site.exchange.arm("status", KLINES, status=429, retry_after=1, skip=6, times=1)
    done = site.download()
    assert done.error == ""
    assert site.stored() == site.truth()
    assert any("nothing is sent" in note for note in site.notes)
    assert all(fault.struck == fault.times for fault in site.exchange.exchange.faults.armed)


def test_the_last_day_is_completed_later(site: Site) -> None:
    noon = MARCH_20 + DAY_MS + DAY_MS // 2
    site.download(until_ms=noon)
    assert site.stored() == site.truth(until_ms=noon)
    later = site.download(until_ms=noon + DAY_MS)
    assert later.fetched_days == 2
    assert site.stored() == site.truth(until_ms=noon + DAY_MS)


def test_damaged_and_missing_days_are_fetched_and_only_those(site: Site) -> None:
    site.download()
    site.days.path(MARCH_20).unlink()
    damaged = site.days.path(MARCH_20 + 4 * DAY_MS)
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert site.download().fetched_days == 2
    assert site.stored() == site.truth()


def test_years_before_the_listing_cost_little_and_are_no_gap(site: Site) -> None:
    asked = site.asked()
    done = site.download(from_ms=MARCH_20 - 3000 * DAY_MS, until_ms=MARCH_20)
    assert done.from_ms == site.truth(0)[0].open_ms
    assert done.gaps == []
    assert site.asked() - asked < 25
    assert site.stored() == site.truth(0, MARCH_20)


def test_a_symbol_that_the_exchange_lacks_is_refused_before_anything_is_fetched(site: Site) -> None:
    asked = site.asked()
    with pytest.raises(ExchangeRefusedError, match="no market NO/PE"):
        site.download(symbol="NO/PE")
    assert site.asked() == asked


def test_a_replay_plays_what_was_downloaded(site: Site) -> None:
    site.download()
    start_ms = OUTAGE.from_ms - 30 * MINUTE_MS
    recording = ReplayRecording(site.folder / "candles", start_ms, 1500)
    market = recording.open(SYMBOL, Opening(start_ms, 1500, 120, None))
    assert market.history == [flagged(c) for c in site.truth(start_ms - 1500 * MINUTE_MS, start_ms)]
    items: Any = [item for _, item in market.stream]
    assert [item for item in items if isinstance(item, Hole)] == [OUTAGE._replace(filled=True)]
    played = [item for item in items if isinstance(item, Candle)]
    filled = range(OUTAGE.from_ms, OUTAGE.until_ms, MINUTE_MS)
    assert [c for c in played if c.open_ms not in filled] == [flagged(c) for c in site.truth(start_ms)]
    assert sum(c.open_ms in filled and c.synthetic for c in played) == 80
