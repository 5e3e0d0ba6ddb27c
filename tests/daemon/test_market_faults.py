"""Market data that is not there, or is bad: that symbol's trouble alone, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.test_conditions import standing
from tests.daemon.test_supervisor_faults import FIFTEEN

pytestmark = pytest.mark.unmeasured

MINUTE_MS = 60_000


def candles(folder: Path, name: str, *, bad_line: int | None = None) -> None:
    """One-minute candles of three days."""
    folder.mkdir(exist_ok=True)
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [f"{1_746_000_000_000 + i * MINUTE_MS},100,101,99,100,5" for i in range(4320)]
    if bad_line is not None:
        lines[bad_line - 1] = "1746000000000,100,x101,99,100,5"
    (folder / f"{name}-1m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_missing_and_bad_data_are_told_and_touch_no_other_symbol(make_daemon: MakeDaemon, run_dir: Path) -> None:
    folder = run_dir / "candles"
    candles(folder, "BTCUSDT")
    candles(folder, "ETHUSDT", bad_line=51)
    replay = {"feed.source": "replay", "feed.path": str(folder), "policy.feed.error_spike": 5}
    daemon = make_daemon(symbols=FIFTEEN, **replay)
    daemon.state = daemon.data / "paper-replay-default"
    daemon.start(ready=False)
    daemon.wait_ready("BTC/USDT")
    feed = daemon.worker("feed")["pid"]
    daemon.wait(lambda: all(e["detail"] for e in daemon.status()["engines"] if not e["ready"]), "all the reasons")
    assert "ETHUSDT-1m.csv:51" in daemon.engine("ETH/USDT")["detail"]
    assert "no data of XLM/USDT" in daemon.engine("XLM/USDT")["detail"]
    daemon.wait(lambda: "market_failed:ETH/USDT" in standing(daemon), "the bad data to be told", seconds=60)
    assert "ETHUSDT-1m.csv:51" in standing(daemon)["market_failed:ETH/USDT"]
    assert "stale_feed:ETH/USDT" not in standing(daemon)
    ticks = daemon.engine()["ticks"]
    daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 20, "ticks of BTC")
    assert (daemon.worker("feed")["pid"], daemon.worker("feed")["restarts"]) == (feed, 0)
    assert all(engine["restarts"] == 0 for engine in daemon.status()["engines"])
    assert daemon.status()["daemon"]["risk_state"] == "ACTIVE"
