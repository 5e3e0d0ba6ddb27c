"""What is told of money agrees with the ledgers while a daemon trades, is killed, and trades on."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from levibot.cli.app import OK, run_command
from levibot.reports.audit import audit
from levibot.reports.rows import exact
from tests.daemon.audit import audit as final_audit
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest
from tests.daemon.test_metrics import values

pytestmark = pytest.mark.unmeasured


def _status_agrees(daemon: DaemonUnderTest) -> bool:
    """Of an engine that runs, by its own ledger, and of one that is stopped, by the record of equity."""
    recorded = {row["symbol"]: row for row in daemon.api.get("/equity")["symbols"]}
    realized = values(daemon, "levi_realized_pnl", "symbol")
    return all(
        engine["trade_count"] == recorded[engine["symbol"]]["positions_opened"]
        and realized[engine["symbol"]] == float(recorded[engine["symbol"]]["realized_pnl"])
        and (engine["position"] or engine["total_pnl"] == realized[engine["symbol"]])
        for engine in daemon.status()["engines"]
    )


def test_reports_agree_with_the_ledgers_over_a_kill_of_everything(
    make_daemon: MakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> Any:
        assert run_command(["-c", str(daemon.config), *words, "--json"]) == OK
        return json.loads(capsys.readouterr().out)

    daemon = make_daemon(
        **{"engine.strategy": f"{FAULTS}:Restless", "feed.speed": 600.0, "risk.protections.low_profit_trades": 0}
    )
    daemon.start()
    daemon.wait(lambda: len(daemon.api.get("/equity")["points"]) >= 3, "a curve", seconds=60)
    daemon.wait(lambda: sum(e["trade_count"] for e in daemon.status()["engines"]) > 3, "trades", seconds=60)
    for _ in range(2):
        assert audit(daemon.state).differences == [], "events under way are no difference"
    assert all(finding["level"] == "ok" for finding in told("doctor", "--ledger"))
    daemon.kill()
    before = len(audit(daemon.state).books.events["BTC/USDT"])
    daemon.start()
    daemon.wait(lambda: len(audit(daemon.state).books.events["BTC/USDT"]) > before, "more trades", seconds=60)
    daemon.wait_ready()
    for engine in daemon.status()["engines"]:
        daemon.post(f"/engines/pause/{engine['symbol']}")
    daemon.wait(lambda: all(e["paused"] and e["ready"] for e in daemon.status()["engines"]), "all to be paused")
    daemon.post("/engines/stop/ETH-USDT")
    daemon.wait(lambda: _status_agrees(daemon), "status, metrics and equity to say the same")
    assert daemon.stop() == 0
    final_audit(daemon.state, Decimal(10_000), settled=False)  # a stop may fill after its engine

    document, positions = told("equity"), told("positions", "--all")
    realized = {row["symbol"]: row["realized_pnl"] for row in positions}
    assert realized == {row["symbol"]: row["realized_pnl"] for row in document["symbols"]}
    fills = told("trades")
    for symbol, total in realized.items():
        assert exact(sum(Decimal(row["realized_pnl"]) for row in fills if row["symbol"] == symbol)) == total
    times = [point["time"] for point in document["points"]]
    assert times == sorted(set(times))
