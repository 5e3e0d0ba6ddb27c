"""A real daemon with real money of the loopback exchange: its key, its crash, its dead man's switch."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from levibot.config_execution import CONFIRMATION
from levibot.locations import KEY_VARIABLES
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest, live_settings
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import SECRET, Settings, account
from tests.programs import LEVIBOTCTL

BTC = "BTC/USDT"
KEY = f"loopback-{secrets.token_hex(6)}"  # on this machine one broker only may trade with a key


@pytest.fixture
def exchange() -> Iterator[RunningExchange]:
    with running(Settings(accounts=[account("binance", KEY)], symbols=(BTC,))) as exchange:
        yield exchange


@pytest.fixture
def live(make_daemon: MakeDaemon, exchange: RunningExchange) -> DaemonUnderTest:
    daemon = make_daemon(
        **live_settings(exchange),
        **{
            "mode": "live",
            "symbols": [BTC],
            "live.confirm": CONFIRMATION,
            "live.capital": "1000",
            "live.deadman_grace": 2.0,
            "live.reconcile_interval": 2.0,
            "exchange.requests_per_minute": 60_000.0,
            "engine.strategy": f"{FAULTS}:Long",
            "engine.strategy_options.switch": "",
            "engine.take_profit": 0.5,
            "engine.stop_loss": 0.4,
        },
    )
    daemon.state = daemon.data / "live-binance-default"
    return daemon


def keys() -> dict[str, str]:
    return dict(zip(KEY_VARIABLES, (KEY, SECRET), strict=False))


def orders(exchange: RunningExchange) -> list[Any]:
    return exchange.run(lambda it: [order for account in it.accounts for order in account.orders.values()])


def stops(exchange: RunningExchange) -> list[Any]:
    return [order for order in orders(exchange) if order.open and order.request.type == "stop_loss"]


def position(daemon: DaemonUnderTest) -> float:
    return daemon.engine()["position"] or 0.0


def test_it_buys_protects_survives_its_end_and_tells_its_key_to_nobody(
    live: DaemonUnderTest, exchange: RunningExchange
) -> None:
    live.start(**keys())
    live.wait(lambda: position(live) > 0 and stops(exchange), "a position with its stop", seconds=90)
    assert "REAL MONEY on binance" in live.output()
    bought = [order for order in orders(exchange) if order.side == "buy"]
    (stop,) = stops(exchange)
    assert len(bought) == 1
    assert stop.amount <= Decimal(str(position(live)))
    assert stop.amount >= Decimal(str(position(live))) * Decimal("0.99")
    assert_private(live)
    live.wait(lambda: live.worker("broker")["account"]["reconciled_s"] is not None, "a comparison")
    shown = subprocess.run(
        [LEVIBOTCTL, "-c", str(live.config), "status"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "compared with the exchange" in shown
    assert "REAL MONEY" in shown

    pids = live.worker_pids()
    held = position(live)
    live.kill()
    live.wait(lambda: not any(map(psutil.pid_exists, pids.values())), "all workers to be gone")
    assert stops(exchange) == [stop], "the stop stays"

    live.start(**keys())
    live.wait(lambda: position(live) == held, "the position to be known again", seconds=60)
    live.wait(lambda: live.worker("broker")["ready"], "the broker to be ready")
    assert [order for order in orders(exchange) if order.side == "buy"] == bought
    assert stops(exchange) == [stop]
    assert live.stop() == 0
    assert stops(exchange) == [stop]


@pytest.mark.long
def test_a_backup_older_than_the_world_is_restored_and_what_was_sold_by_hand_is_settled(
    live: DaemonUnderTest, exchange: RunningExchange
) -> None:
    """In process, and shorter: `tests/execution/live/test_settle.py` and `test_reconciliation.py`."""
    archive = str(live.folder / "backup.tar.gz")
    live.start(**keys())
    live.wait(lambda: position(live) > 0 and stops(exchange), "a position with its stop", seconds=90)
    live.post("/engines/pause/BTC-USDT")
    assert "nothing is missing" in ctl(live, "settle", BTC, "--reason", "?", fails=True)
    ctl(live, "backup", archive)
    ctl(live, "close", BTC, "--reason", "enough")
    live.wait(lambda: position(live) < 1e-4, "nothing left")
    sold = sales(exchange)
    assert live.stop() == 0
    ctl(live, "restore", "--yes", archive)

    live.start(**keys())
    live.wait(lambda: position(live) < 1e-4, "the sale that the backup does not know to be found", seconds=60)
    assert live.engine()["status"] == "paused"
    assert sales(exchange) == sold, "nothing twice"
    assert not [order for order in orders(exchange) if order.open]
    live.post("/engines/resume/BTC-USDT")
    live.wait(lambda: position(live) > 1e-4 and stops(exchange), "another position with its stop", seconds=60)
    live.post("/engines/pause/BTC-USDT")
    sell_by_hand(exchange, Decimal(str(position(live))))
    live.wait(lambda: is_short(live), "the shortage", seconds=60)
    assert "booked as sold" in ctl(live, "settle", BTC, "--reason", "sold by phone")
    live.wait(lambda: position(live) < 1e-4, "what the exchange has")
    live.wait(lambda: not is_short(live) and not live.engine()["frozen"], "the symbol to thaw", seconds=60)
    assert sales(exchange) == sold, "nothing is sent"
    assert live.stop() == 0
    ctl(live, "doctor", "--ledger")
    told = [line for line in ctl(live, "audit").splitlines() if "settle" in line]
    assert len(told) == 2, told
    assert "sold by phone" in told[1]


def ctl(daemon: DaemonUnderTest, *words: str, fails: bool = False) -> str:
    """What `levibotctl` says."""
    program = str(Path(sys.executable).with_name("levibotctl"))
    done = subprocess.run(
        [program, "-c", str(daemon.config), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **keys()},
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def is_short(daemon: DaemonUnderTest) -> bool:
    account = daemon.worker("broker")["account"]
    return account is not None and "BTC" in account["drift"]


def sales(exchange: RunningExchange) -> list[str]:
    """Client ids of the orders that have sold something."""
    return [order.client_id for order in orders(exchange) if order.side == "sell" and order.filled]


def sell_by_hand(exchange: RunningExchange, amount: Decimal) -> None:
    """Somebody cancels the stop and sells all, also what was there before."""

    def act(it: Any) -> None:
        (owner,) = it.accounts
        for order in owner.open_orders(BTC):
            it.matching.cancel(owner, order)
        owner.balances["BTC"].free = Decimal(0)
        owner.balances["USDT"].free += amount * it.market.symbols[BTC].book.best("buy")[0]

    exchange.run(act)


def assert_private(daemon: DaemonUnderTest) -> None:
    """No process but the broker has the key, and no file, log or answer."""
    broker = daemon.worker("broker")["pid"]
    for process in daemon.processes():
        told = " ".join([*process.cmdline(), *process.environ().values()])
        assert process.pid == broker or not any(text in told for text in (KEY, SECRET)), process
    for path in daemon.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content, path
            assert SECRET.encode() not in content, path
    shown = str(daemon.status())
    assert KEY not in shown
    assert SECRET not in shown


def test_without_the_confirmation_nothing_starts(live: DaemonUnderTest) -> None:
    live.write_config(**{"live.confirm": "yes"})
    done = subprocess.run(
        [sys.executable, "-m", "levibot", "-c", str(live.config)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=Path.cwd(),
    )
    assert done.returncode == 1
    assert f'needs [live] confirm = "{CONFIRMATION}"' in done.stderr


def test_a_daemon_without_its_key_ends_before_it_starts_anything(live: DaemonUnderTest) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "levibot", "-c", str(live.config)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=Path.cwd(),
    )
    assert done.returncode == 1
    assert "needs LEVIBOT_API_KEY and LEVIBOT_API_SECRET" in done.stderr
    assert not live.state.exists()


def test_a_key_that_the_exchange_refuses_is_told_at_once_and_nothing_is_left_running(
    live: DaemonUnderTest, exchange: RunningExchange
) -> None:
    wrong = dict(zip(KEY_VARIABLES, (KEY, SECRET[::-1]), strict=False))
    done = subprocess.run(
        [LEVIBOTCTL, "-c", str(live.config), "start", "--timeout", "80"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **wrong},
    )
    assert done.returncode == 1
    assert "the account is not traded: binance does not accept key" in done.stderr
    assert "nothing is left running" in done.stderr
    assert "after 80 s" not in done.stderr
    assert live.processes() == []
    assert orders(exchange) == []
