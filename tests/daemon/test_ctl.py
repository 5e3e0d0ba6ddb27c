"""levibotctl on a real daemon, as an operator uses it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import FAULTS, DaemonUnderTest, alive, daemon
from tests.daemon.test_market_faults import candles
from tests.deadline import wait_for
from tests.programs import LEVIBOTCTL

NOT_RUNNING, NO_SUCH_SYMBOL = 3, 4


class Operator:
    """Types commands for one daemon."""

    def __init__(self, under_test: DaemonUnderTest) -> None:
        self.daemon = under_test

    def types(self, *words: str, code: int = 0) -> str:
        """Run one command; what it printed. It must end with `code`, and without a traceback."""
        done = subprocess.run(
            [LEVIBOTCTL, "-c", str(self.daemon.config), *words],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        return said


@pytest.fixture
def operator(run_dir: Path) -> Iterator[Operator]:
    with daemon(run_dir) as under_test:
        yield Operator(under_test)
        if subprocess.run(
            [LEVIBOTCTL, "-c", str(under_test.config), "stop"], capture_output=True, check=False
        ).returncode:
            return


def test_start_returns_when_every_engine_is_ready_and_stop_when_all_is_gone(operator: Operator) -> None:
    assert "levibotctl start" in operator.types("status", code=NOT_RUNNING)
    said = operator.types("start")
    assert "BTC/USDT" in said
    assert stat.S_IMODE(operator.daemon.data.stat().st_mode) == 0o700
    status = json.loads(operator.types("status", "--json"))
    assert status["running"] == status["total"] == 2
    assert "already" in operator.types("start", code=1)
    pids = [status["daemon"]["pid"], *(e["pid"] for e in [*status["engines"], *status["workers"]])]
    assert operator.types("stop")
    assert not [pid for pid in pids if alive(pid)]
    operator.types("stop", code=NOT_RUNNING)


def test_stop_says_what_positions_remain(operator: Operator) -> None:
    operator.daemon.write_config(engine__strategy=f"{FAULTS}:Long")
    operator.types("start")
    wait_for(lambda: operator.daemon.engine()["position"], "a position", seconds=60)
    held = operator.daemon.engine()["position"]
    said = operator.types("stop")
    assert "BTC/USDT" in said
    assert f"{held:g}"[:6] in said


def test_start_says_which_engine_is_not_ready_and_why(operator: Operator, switch_file: Path) -> None:
    operator.daemon.write_config(
        **{
            'overrides."BTC/USDT".strategy': f"{FAULTS}:DiesAtOnce",
            'overrides."BTC/USDT".strategy_options.switch': str(switch_file),
        }
    )
    said = operator.types("start", "--timeout", "20", code=1)
    assert "BTC/USDT" in said
    assert "code 3" in said
    assert operator.daemon.engine("ETH/USDT")["ready"], "the others trade"


def replay(operator: Operator, *symbols: str) -> None:
    """Play back candles that there are of BTC/USDT alone."""
    folder = operator.daemon.folder / "candles"
    candles(folder, "BTCUSDT")
    operator.daemon.write_config(feed__source="replay", feed__path=str(folder), symbols=list(symbols))


def test_start_returns_as_soon_as_nothing_but_failed_markets_is_waited_for(operator: Operator) -> None:
    replay(operator, "BTC/USDT", "ETH/USDT", "XLM/USDT")
    said = operator.types("start", "--timeout", "85")  # whose end would be a failure
    assert "1 of 3 engines are ready after" in said
    assert "2 engine(s) not ready; the daemon runs on:" in said
    assert "ETH/USDT: market failed: " in said
    assert "no data of ETH/USDT" in said
    assert "see `levibotctl logs feed`; `levibotctl doctor`" in said
    assert "all engines are ready" not in said


def test_start_fails_where_no_market_could_be_opened_and_the_daemon_runs_on(operator: Operator) -> None:
    replay(operator, "ETH/USDT", "XLM/USDT")
    said = operator.types("start", "--timeout", "85", code=1)
    assert "2 engine(s) not ready; the daemon runs on:" in said
    assert "XLM/USDT: market failed: " in said
    assert "no data of XLM/USDT" in said
    assert "after 85 s" not in said
    assert operator.daemon.worker("feed")["ready"]


def test_start_repeats_why_the_daemon_could_not_run(operator: Operator) -> None:
    operator.daemon.config.write_text("[engine]\nstop_los = 0.1\n", encoding="utf-8")
    said = operator.types("start", code=1)
    assert "stop_los" in said
    assert "stop_loss" in said


def test_commands_for_one_symbol(operator: Operator) -> None:
    operator.types("start")
    operator.types("pause", "btcusdt")
    assert json.loads(operator.types("status", "BTC-USDT", "--json"))["status"] == "paused"
    operator.types("resume", "BTC/USDT")
    operator.types("stop", "BTC/USDT", "ETH/USDT")
    operator.types("start", "BTC/USDT")
    wait_for(lambda: operator.daemon.engine()["ready"], "BTC to be ready")
    operator.types("restart", "BTC/USDT")
    feed = operator.daemon.worker("feed")["pid"]
    assert operator.types("restart", "feed", "notifier", code=NO_SUCH_SYMBOL).startswith("feed restarted\n")
    assert operator.daemon.wait_replaced("feed", feed)["restarts"] == 0, "an operator's restart is free"
    assert "next reload" in operator.types("add", "SOL/USDT")
    assert "next reload" in operator.types("remove", "SOL/USDT", "--keep")
    operator.types("reset", "--all")
    assert "DOGE" in operator.types("pause", "DOGE/USDT", code=NO_SUCH_SYMBOL)
    operator.types("pause", code=2)
    operator.types("kill", "on", "--reason", "a test")
    live = operator.daemon.api.get("/live/status")
    assert {"kill_switch": True, "reason": "a test", "active": False, "state": "REDUCING"}.items() <= live.items()
    said = operator.types("kill", "on", "--reason", "second")
    assert "a test (it was on already, and its first reason stays)" in said
    assert operator.daemon.api.get("/live/status")["reason"] == "a test"
    operator.types("kill", "off")
    assert "counts from the equity of now" in operator.types("risk", "reset-day")
    assert operator.daemon.api.get("/live/status")["active"]
    assert operator.types("logs", "BTC-USDT")
    assert operator.types("logs", "supervisor")


@pytest.mark.long
def test_a_running_daemon_is_reached_while_its_file_is_broken_or_gone(operator: Operator) -> None:
    under_test = operator.daemon
    operator.types("start")
    under_test.config.write_text("symbols = [\n[engine", encoding="utf-8")
    assert "supervisor.toml:2: not valid TOML" in operator.types("kill", "on", "--reason", "broken file")
    assert under_test.api.get("/live/status")["reason"] == "broken file"
    assert "BTC/USDT" in operator.types("status")
    assert "engine_ready" in operator.types("logs", "BTC/USDT", "-n", "500")
    assert "not valid TOML" in operator.types("reload", code=1)
    assert operator.types("start", code=1).count("not valid TOML") == 1
    under_test.config.unlink()
    said = operator.types("kill", "off")
    assert f"looked for in {under_test.data}" in said
    assert "no such file" in said
    moved = under_test.folder / "elsewhere.toml"
    done = subprocess.run(
        [LEVIBOTCTL, "-c", str(moved), "--data-dir", str(under_test.data), "status", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["daemon"]["config_path"] == str(under_test.config)
    assert "stopped" in operator.types("stop")
    assert under_test.processes() == []


def test_a_symbol_with_a_position_is_removed_only_if_that_is_kept_or_closed(operator: Operator) -> None:
    under_test = operator.daemon
    under_test.write_config(engine__strategy=f"{FAULTS}:Long")
    operator.types("start")
    wait_for(lambda: all(e["position"] for e in under_test.status()["engines"]), "positions", seconds=60)
    under_test.write_config(symbols=["BTC/USDT"])
    said = operator.types("reload", code=1)
    assert "a position is open in ETH/USDT: nothing was removed" in said
    assert "--flatten closes it first; --keep leaves it to the broker" in said
    assert under_test.status()["total"] == 2
    said = operator.types("reload", "--keep")
    held = under_test.status()["untraded_positions"]
    assert list(held) == ["ETH/USDT"]
    assert f"what stays is counted on: ETH/USDT {held['ETH/USDT']:+g}, stop of" in said
    assert "watched by the broker" in said
    assert f"no longer traded: ETH/USDT {held['ETH/USDT']:+.6g}" in operator.types("status")
    feed = under_test.worker("feed")["pid"]
    os.kill(feed, signal.SIGKILL)
    wait_for(lambda: under_test.worker("feed")["pid"] not in (None, feed), "another feed")
    wait_for(lambda: (under_test.worker("feed")["markets"] or {}).get("ETH/USDT") == "live", "its price to go on")
    assert "a position is open in BTC/USDT" in operator.types("remove", "BTC/USDT", code=1)
    operator.types("add", "ETH/USDT")
    assert "BTC/USDT removed; this holds" in operator.types("remove", "BTC/USDT", "--flatten")
    assert [engine["symbol"] for engine in under_test.status()["engines"]] == ["ETH/USDT"]
    assert [held["symbol"] for held in under_test.status()["holdings"]] == ["ETH/USDT"]
    said = operator.types("stop")
    assert "kept by the broker, NOT watched until the next start" in said
    audit = operator.types("audit")
    assert "remove BTC/USDT  refused: a position is open in BTC/USDT" in audit
    assert "remove BTC/USDT flatten=true\n" in audit


def test_upgrade_restarts_the_daemon_with_its_positions(operator: Operator) -> None:
    operator.daemon.write_config(engine__strategy=f"{FAULTS}:Long")
    operator.types("start")
    wait_for(lambda: all(e["position"] for e in operator.daemon.status()["engines"]), "positions", seconds=60)
    before = operator.daemon.status()
    operator.types("upgrade")
    after = operator.daemon.status()
    assert after["daemon"]["uptime_seconds"] < before["daemon"]["uptime_seconds"] + 60
    assert {e["pid"] for e in after["engines"]}.isdisjoint(e["pid"] for e in before["engines"])
    operator.daemon.wait_ready()
    assert [e["position"] for e in operator.daemon.status()["engines"]] == [
        e["position"] for e in before["engines"]
    ]


def test_run_shows_a_live_table_and_stops_cleanly_on_ctrl_c(operator: Operator) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [LEVIBOTCTL, "-c", str(operator.daemon.config), "run"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "160", "LINES": "40", "TERM": "xterm-256color"},
    )
    os.close(slave)
    screen = ""
    try:
        screen = _read_until(master, screen, "BTC/USDT", 60)
        screen = _read_until(master, screen, "SIMULATED", 60)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
        end = time.monotonic() + 40
        while process.poll() is None and time.monotonic() < end:
            screen += _read(master)
        assert process.returncode == 0
        assert "Traceback" not in screen
        assert operator.daemon.processes() == []
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)


def _read_until(master: int, screen: str, text: str, seconds: float) -> str:
    end = time.monotonic() + seconds
    while text not in screen:
        assert time.monotonic() < end, f"no {text!r} on the screen: {screen[-2000:]}"
        screen += _read(master)
    return screen


def _read(master: int) -> str:
    if not select.select([master], [], [], 0.1)[0]:
        return ""
    try:
        return os.read(master, 65536).decode(errors="replace")
    except OSError:  # the other side is closed
        return ""


@pytest.fixture
def switch_file(run_dir: Path) -> Path:
    path = run_dir / "switch"
    path.touch()
    return path
