"""Recorded frames of Binance through the real ccxt, feed, bus and engines of a daemon: what goes in comes out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.conftest import make_daemon as make_daemon  # a fixture of another package
from tests.daemon.harness import live_settings
from tests.deadline import wait_for
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings
from tests.exchange.test_replay import cut
from tests.market.real_data import real_data
from tests.market_live import diary
from tests.market_live.fast_clock import environment
from tests.market_live.world import pace_of

TRADES = {"BTC/USDT": 9_757, "ETH/USDT": 6_106}
SPEED = 8.0
LEAD_S = 25.0  # for the daemon to start and subscribe before the first frame


@pytest.mark.parametrize("lines", [4_000, pytest.param(None, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
def test_every_recorded_trade_reaches_the_engine_once(
    make_daemon: MakeDaemon, run_dir: Path, tmp_path: Path, lines: int | None
) -> None:
    folder = real_data("frames", "binance-spot-2024-08-08")
    if lines is not None:
        folder = tmp_path
        for path in real_data("frames", "binance-spot-2024-08-08").glob("*.jsonl.gz"):
            cut(path, lines, tmp_path)
    symbols = tuple(TRADES)
    settings = Settings(
        symbols=symbols,
        replay=folder,
        replay_waits=False,
        replay_lead_s=LEAD_S,
        speed=SPEED,
        serves_market_time=True,
        weight_limit=100_000,
    )
    with running(settings) as exchange:
        daemon = make_daemon(
            **live_settings(exchange),
            **{
                "symbols": list(symbols),
                "exchange.requests_per_minute": 1_200 * SPEED,
                "engine.strategy": diary.NAME,
                "engine.strategy_options.folder": str(run_dir),
            },
        )
        daemon.start(ready=False, **environment(pace_of(exchange)))
        daemon.wait(lambda: subscribed(exchange), "the subscriptions", seconds=LEAD_S)
        wait_for(exchange.exchange.source.done.is_set, "the last frame", seconds=120, every=0.1)
        for symbol in symbols:
            happened = Counter(str(trade.id) for trade in exchange.journal.trades[symbol])
            if lines is None:
                assert happened.total() == TRADES[symbol]
            wait_for(lambda s=symbol, n=happened: diary.read(run_dir, s).trades.total() >= n.total(), "all trades")
            pages = diary.read(run_dir, symbol)
            assert pages.trades == happened
            assert set(pages.trades.values()) == {1}
            assert pages.books
            assert all(bid < ask for bid, ask in pages.books)
            assert len(pages.bars) == len(set(pages.bars))
        assert daemon.stop() == 0


def subscribed(exchange: RunningExchange) -> bool:
    """Whether trades, books and best prices of both symbols are subscribed."""
    return len(exchange.log.streamed("subscribe")) >= 3 * len(TRADES)
