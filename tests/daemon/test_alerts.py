"""Alerts of a real daemon, told to real servers; what goes wrong with them touches nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.alerting.receivers import Webhook, closed_port, webhook
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest

TOKEN = "t0psecret4711"
NOTIFIER: dict[str, Any] = {
    "policy.notifier.heartbeat_interval": 0.1,
    "policy.notifier.restart_delays": [0.0],
    "symbols": ["BTC/USDT"],
    "alerts.disk_free_mb": 0,
}


def targets(folder: Path, *urls: str) -> Path:
    """The targets file, as private as it must be."""
    path = folder / "alert-targets"
    path.write_text("# where alerts go\n" + "".join(f"{url}\n" for url in urls), encoding="utf-8")
    path.chmod(0o600)
    return path


def json_url(server: Webhook) -> str:
    return f"json://127.0.0.1:{server.port}/{TOKEN}/"


def kill_switch(daemon: DaemonUnderTest, on: bool, reason: str = "test") -> None:
    daemon.post(f"/live/kill?on={'true' if on else 'false'}&reason={reason}")


def standing(daemon: DaemonUnderTest) -> list[str]:
    return [alert["key"] for alert in daemon.api.get("/alerts?state=standing")]


def assert_no_secret(daemon: DaemonUnderTest) -> None:
    """The token of the URL is in no log, no answer, no database, no output."""
    answers = [daemon.api.get_bytes(path) for path in ("/engines/status", "/alerts", "/health", "/risk/summary")]
    files = [path for path in daemon.data.rglob("*") if path.is_file() and not path.is_socket()]
    for content in [*answers, *(path.read_bytes() for path in files), daemon.output().encode()]:
        assert TOKEN.encode() not in content


def test_an_alert_arrives_once_whatever_the_other_targets_do(make_daemon: MakeDaemon, run_dir: Path) -> None:
    with webhook() as good, webhook() as hangs, webhook(lambda n: 500 if n == 0 else 200) as late:
        hangs.hanging = True
        unreachable = f"json://127.0.0.1:{closed_port()}/{TOKEN}/"
        path = targets(run_dir, unreachable, json_url(hangs), json_url(good), json_url(late))
        daemon = make_daemon(**NOTIFIER, alerts__targets_file=path)
        daemon.start()
        pids = daemon.worker_pids()
        kill_switch(daemon, on=True, reason="why")
        daemon.wait(lambda: good.titled("kill_switch"), "the alert at the good target")
        daemon.wait(lambda: late.titled("kill_switch"), "the alert at the one that failed at first")
        kill_switch(daemon, on=False)
        daemon.wait(lambda: good.titled("is over"), "the end of it")
        assert [message["type"] for message in good.messages] == ["warning", "success"]
        assert "the kill switch is on: why" in good.messages[0]["message"]
        assert len(late.paths) == 3
        ticks = daemon.engine()["ticks"]
        daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 10, "the engine to go on")
        assert daemon.worker_pids() == pids
        assert_no_secret(daemon)
        assert any("no answer" in r["reason"] or "not reached" in r["reason"]
                   for r in daemon.events("notice_not_delivered", "notifier"))  # fmt: skip
