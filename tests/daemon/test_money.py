"""What is told of money agrees with the ledgers while a daemon trades, is killed, and trades on."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from levibot.reports.audit import audit
from levibot.reports.rows import exact
from tests.daemon.audit import audit as final_audit
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest

CTL = str(Path(sys.executable).parent / "levibotctl")


def _told(daemon: DaemonUnderTest, *words: str) -> Any:
    command = [CTL, "-c", str(daemon.config), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_reports_agree_with_the_ledgers_over_a_kill_of_everything(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(
        **{"engine.strategy": f"{FAULTS}:Restless", "feed.speed": 600.0, "risk.protections.low_profit_trades": 0}
    )
    daemon.start()
    daemon.wait(lambda: len(daemon.api.get("/equity")["points"]) >= 3, "a curve", seconds=20)
    daemon.wait(lambda: sum(e["trade_count"] for e in daemon.status()["engines"]) > 3, "trades", seconds=20)
    for _ in range(3):
        assert audit(daemon.state).differences == [], "events under way are no difference"
    assert all(finding["level"] == "ok" for finding in _told(daemon, "doctor", "--ledger"))
    daemon.kill()
    before = len(audit(daemon.state).books.events["BTC/USDT"])
    daemon.start()
    daemon.wait(lambda: len(audit(daemon.state).books.events["BTC/USDT"]) > before, "more trades", seconds=20)
    daemon.wait_ready()
    for engine in daemon.status()["engines"]:
        daemon.post(f"/engines/pause/{engine['symbol']}")
    daemon.wait(lambda: all(e["paused"] and e["ready"] for e in daemon.status()["engines"]), "all to be paused")
    assert daemon.stop() == 0
    final_audit(daemon.state, Decimal(10_000))

    document, positions = _told(daemon, "equity"), _told(daemon, "positions", "--all")
    realized = {row["symbol"]: row["realized_pnl"] for row in positions}
    assert realized == {row["symbol"]: row["realized_pnl"] for row in document["symbols"]}
    fills = _told(daemon, "trades")
    for symbol, total in realized.items():
        assert exact(sum(Decimal(row["realized_pnl"]) for row in fills if row["symbol"] == symbol)) == total
    times = [point["time"] for point in document["points"]]
    assert times == sorted(set(times))
