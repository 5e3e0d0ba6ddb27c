"""Backup while a daemon trades, restore after it was stopped: as an operator does it."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from levibot.bus.messages import OrderEvent
from tests.daemon.audit import audit
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest

pytestmark = pytest.mark.unmeasured

CTL = str(Path(sys.executable).parent / "levibotctl")


def _ctl(daemon: DaemonUnderTest, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [CTL, "-c", str(daemon.config), *words], capture_output=True, text=True, timeout=90, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_backup_of_a_daemon_that_trades_is_restored_paused_and_reconciled(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(
        symbols=["BTC/USDT"],
        **{"engine.strategy": f"{FAULTS}:Restless", "feed.speed": 600.0, "risk.protections.low_profit_trades": 0},
    )
    daemon.start()
    daemon.wait(lambda: daemon.engine()["trade_count"] >= 2, "some trades")
    archive = daemon.folder / "backup.tar.gz"
    done = _ctl(daemon, "backup", str(archive))
    assert done.returncode == 0, done.stderr
    assert archive.stat().st_mode & 0o777 == 0o600
    traded = daemon.engine()["trade_count"]
    daemon.wait(lambda: daemon.engine()["trade_count"] > traded, "a trade that the backup does not know")
    assert "holds this data directory" in _ctl(daemon, "restore", "--yes", str(archive)).stderr
    assert daemon.stop() == 0
    later = audit(daemon.state, Decimal(10_000), settled=False)

    done = _ctl(daemon, "restore", "--yes", str(archive))
    assert done.returncode == 0, done.stderr
    assert "all symbols are paused" in done.stdout
    told = _ctl(daemon, "audit").stdout.splitlines()
    assert [line.split("  ")[2] for line in told] == ["start daemon", "stop daemon", "restore backup.tar.gz"]
    daemon.start()
    engine = daemon.engine()
    assert (engine["status"], engine["ledger"]) == ("paused", "ok")
    daemon.post("/engines/resume/BTC-USDT")
    trades = daemon.engine()["trade_count"]
    daemon.wait(lambda: daemon.engine()["trade_count"] > trades, "a trade after the restore")
    assert daemon.stop() == 0
    books = audit(daemon.state, Decimal(10_000), settled=False)
    (aside,) = daemon.data.glob("*.before-restore-*")
    assert audit(aside, Decimal(10_000), settled=False).events == later.events
    known, since = later.events, books.events
    common = next(number for number, pair in enumerate(zip(known, since, strict=False)) if pair[0] != pair[1])
    before, after = _ids(known[common:]), _ids(since[common:])
    assert before - _ids(known[:common]), "orders that the backup did not know"
    assert not (before & after) - _ids(known[:common])


def _ids(events: list[OrderEvent]) -> set[str]:
    return {event.client_id for event in events}
