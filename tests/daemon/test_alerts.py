"""Alerts of a real daemon, told to real servers; what goes wrong with them touches nothing else."""

from __future__ import annotations

import email
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from levibot.api.client import ApiError
from levibot.bus.codec import Decoder, encode
from levibot.bus.messages import AccountRequest, AccountSnapshot, BrokerReply, CancelOrder, Intent
from levibot.bus.sockets import drain, make_socket, send
from tests.alerting.receivers import Webhook, closed_port, mail_server, webhook
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import FAULTS, DaemonUnderTest
from tests.deadline import wait_for
from tests.programs import LEVIBOTCTL

pytestmark = pytest.mark.unmeasured

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


def ctl(daemon: DaemonUnderTest, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as an operator types it."""
    command = [LEVIBOTCTL, "-c", str(daemon.config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def healthy(daemon: DaemonUnderTest) -> bool:
    try:
        return bool(daemon.api.get("/health")["ok"])
    except ApiError:
        return False


def wait_for_withheld(daemon: DaemonUnderTest) -> None:
    """Wait for two more beats that were not sent."""
    before = daemon.worker("notifier")["heartbeats_withheld"]
    daemon.wait(lambda: daemon.worker("notifier")["heartbeats_withheld"] > before + 1, "beats to be withheld")


def standing(daemon: DaemonUnderTest) -> list[str]:
    return [alert["key"] for alert in daemon.api.get("/alerts?state=standing")]


def assert_no_secret(daemon: DaemonUnderTest) -> None:
    """The token of the URL is in no log, no answer, no database, no output."""
    answers = [daemon.api.get_bytes(path) for path in ("/engines/status", "/alerts", "/metrics", "/risk/summary")]
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
        daemon.wait(lambda: len(late.paths) >= 3, "the end of it at the one that failed at first")
        assert len(late.paths) == 3
        ticks = daemon.engine()["ticks"]
        daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 10, "the engine to go on")
        assert daemon.worker_pids() == pids
        assert_no_secret(daemon)
        assert any("no answer" in r["reason"] or "not reached" in r["reason"]
                   for r in daemon.events("notice_not_delivered", "notifier"))  # fmt: skip


def test_the_notifier_dies_between_two_attempts_and_the_alert_arrives(
    make_daemon: MakeDaemon, run_dir: Path
) -> None:
    refusing = True
    with webhook(lambda _number: 503 if refusing else 200) as server:
        daemon = make_daemon(**NOTIFIER, alerts__targets_file=targets(run_dir, json_url(server)))
        daemon.start()
        kill_switch(daemon, on=True)
        daemon.wait(lambda: server.paths, "a first attempt")
        first = daemon.worker_pids()["notifier"]
        os.kill(first, signal.SIGKILL)
        refusing = False
        daemon.wait(lambda: server.messages, "the alert from the next process")
        daemon.wait_replaced("notifier", first)
        assert len(server.messages) == 1
        assert daemon.engine()["ready"]


def test_the_supervisor_dies_and_the_alert_arrives_once(make_daemon: MakeDaemon, run_dir: Path) -> None:
    refusing = True
    with webhook(lambda _number: 503 if refusing else 200) as server:
        daemon = make_daemon(**NOTIFIER, alerts__targets_file=targets(run_dir, json_url(server)))
        daemon.start()
        kill_switch(daemon, on=True)
        daemon.wait(lambda: server.paths, "a first attempt")
        daemon.kill()
        refusing = False
        daemon.start()
        daemon.wait(lambda: server.messages, "the alert after the restart")
        assert standing(daemon) == ["kill_switch"], "the same alert, as the latch still holds"
        kill_switch(daemon, on=False)
        daemon.wait(lambda: len(server.messages) == 2, "its end")
        assert [message["type"] for message in server.messages] == ["warning", "success"]
        assert len({message["message"].rpartition("id ")[2] for message in server.messages}) == 2


@pytest.mark.long
def test_a_test_names_lines_and_never_urls(make_daemon: MakeDaemon, run_dir: Path) -> None:
    with webhook() as good, webhook(lambda _number: 403) as bad:
        path = targets(run_dir, json_url(good), json_url(bad), f"nonsense://{TOKEN}", TOKEN)
        daemon = make_daemon(**NOTIFIER, alerts__targets_file=path, alerts__hook=["/bin/false"])
        daemon.start()
        done = ctl(daemon, "alerts", "test")
        assert done.returncode == 1
        assert sorted(done.stdout.splitlines()) == [
            "alerts.targets_file, line 4: not a URL that apprise knows; see https://appriseit.com/services/",
            "alerts.targets_file, line 5: not a URL that apprise knows; see https://appriseit.com/services/",
            "hook: ended with exit code 1",
            "line 2 (json): delivered",
            "line 3 (json): answered 403",
        ]
        assert TOKEN not in done.stdout + done.stderr
        assert_no_secret(daemon)
        daemon.wait(lambda: "notifier" in standing(daemon), "the alert about the notifier", seconds=60)
        targets(run_dir, json_url(good))
        daemon.wait(
            lambda: "line 2 (json): delivered" in ctl(daemon, "alerts", "test").stdout, "the corrected file"
        )
        path.chmod(0o644)
        daemon.wait(lambda: "chmod 600" in ctl(daemon, "alerts", "test").stdout, "the mode to be refused")


@pytest.mark.long
def test_without_a_channel_a_test_says_what_to_set(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    assert [worker["worker"] for worker in daemon.status()["workers"]] == ["broker", "feed"]
    with pytest.raises(ApiError, match=r"set alerts\.targets_file or alerts\.hook"):
        daemon.post("/alerts/test")
    assert ctl(daemon, "alerts").stdout == "no alert stands\n"
    kill_switch(daemon, on=True, reason="why")
    daemon.wait(lambda: standing(daemon), "the alert")
    shown = ctl(daemon, "alerts").stdout
    assert "kill_switch" in shown
    assert "why" in shown
    assert "levibotctl kill off" in shown
    kill_switch(daemon, on=False)
    daemon.wait(lambda: not standing(daemon), "its end")
    assert "over" in ctl(daemon, "alerts", "--all").stdout
    (alert,) = json.loads(ctl(daemon, "alerts", "--all", "--json").stdout)
    assert (alert["state"], alert["cleared_by"]) == ("cleared", "over")
    assert daemon.api.get("/alerts?severity=critical") == []


def test_a_hook_gets_json_and_a_mail_is_sent(make_daemon: MakeDaemon, run_dir: Path) -> None:
    got = run_dir / "got"
    with mail_server() as (port, mails):
        url = f"mailto://127.0.0.1:{port}?from=levibot@example.org&to=me@example.org&mode=insecure"
        daemon = make_daemon(
            **NOTIFIER, alerts__targets_file=targets(run_dir, url), alerts__hook=["/bin/sh", "-c", f"cat >> {got}"]
        )
        daemon.start()
        kill_switch(daemon, on=True, reason="why")
        daemon.wait(lambda: mails, "the mail")
        daemon.wait(lambda: got.exists() and got.stat().st_size, "the hook to run")
    document = json.loads(got.read_bytes())
    assert (document["change"], document["key"], document["severity"]) == ("raised", "kill_switch", "warning")
    assert document["notice"] == f"{document['id']}-raised"
    body = email.message_from_string(mails[0]).get_payload(decode=True)
    assert document["notice"].encode() in body
    assert document["source"] == f"paper-simulated-default@{socket.gethostname()}:{daemon.data}"
    assert document["source"].encode() in body


@pytest.mark.long
def test_a_hook_that_hangs_or_ignores_signals_holds_up_nothing(make_daemon: MakeDaemon, run_dir: Path) -> None:
    started = run_dir / "started"
    command = ["/bin/sh", "-c", f"trap '' TERM; echo $$ >> {started}; sleep 600"]
    with webhook() as server:
        daemon = make_daemon(
            **NOTIFIER, alerts__targets_file=targets(run_dir, json_url(server)), alerts__hook=command
        )
        daemon.start()
        kill_switch(daemon, on=True)
        daemon.wait(lambda: server.messages, "the alert at the target")
        daemon.wait(lambda: started.exists() and started.read_text(), "the hook to hang")
        assert daemon.stop() == 0
        wait_for(lambda: not psutil.pid_exists(int(started.read_text().split()[0])), "the hook to be gone")


def test_engines_that_die_together_are_one_message(make_daemon: MakeDaemon, run_dir: Path) -> None:
    with webhook() as server:
        symbols = [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "BNB", "XRP")]
        settings = {**NOTIFIER, "symbols": symbols}
        daemon = make_daemon(**settings, alerts__targets_file=targets(run_dir, json_url(server)))
        daemon.start()
        for name, pid in daemon.worker_pids().items():
            if name.startswith("engine"):
                os.kill(pid, signal.SIGKILL)
        daemon.wait(lambda: server.titled("crash_storm is over"), "the alert and its end", seconds=60)
        assert [message["type"] for message in server.messages] == ["failure", "success"]
        assert "of 5 engines died within 5 s" in server.messages[0]["message"]


@pytest.mark.long
def test_the_heartbeat_goes_out_while_all_is_well_and_only_then(make_daemon: MakeDaemon, run_dir: Path) -> None:
    with webhook() as server:
        path = run_dir / "heartbeat-url"
        path.write_text(f"http://127.0.0.1:{server.port}/{TOKEN}\n", encoding="utf-8")
        path.chmod(0o600)
        delays = {"policy.feed.restart_delays": [600.0]}
        daemon = make_daemon(**NOTIFIER, **delays, alerts__heartbeat_file=path, alerts__heartbeat_interval=0.3)
        daemon.start()
        daemon.wait(lambda: len(server.paths) > 2, "heartbeats")
        assert set(server.paths) == {f"/{TOKEN}"}
        first = daemon.worker_pids()["feed"]
        os.kill(first, signal.SIGKILL)
        second = daemon.wait_replaced("feed", first)["pid"]
        os.kill(second, signal.SIGKILL)  # the next attempt is ten minutes away
        daemon.wait(lambda: not healthy(daemon), "the daemon to be unwell")
        wait_for_withheld(daemon)
        sent = len(server.paths)
        wait_for_withheld(daemon)
        assert len(server.paths) == sent
        assert_no_secret(daemon)


def test_a_position_without_a_stop_is_told(make_daemon: MakeDaemon) -> None:
    settings = {
        "engine.strategy": f"{FAULTS}:Long",
        "engine.take_profit": 0,
        "policy.broker.restart_delays": [4.0],
    }
    daemon = make_daemon(**{**NOTIFIER, **settings})
    daemon.start()
    daemon.wait(lambda: daemon.engine()["position"], "a position", seconds=60)
    cancel_stop(daemon)
    daemon.wait(lambda: standing(daemon) == ["unprotected:BTC/USDT"], "the alert", seconds=60)
    (alert,) = daemon.api.get("/alerts?state=standing")
    assert alert["severity"] == "critical"
    pid = daemon.worker_pids()["broker"]
    for _ in range(2):  # the first is replaced at once, the second after four seconds
        os.kill(pid, signal.SIGKILL)
        pid = daemon.wait_replaced("broker", pid)["pid"]
    (still,) = (found for found in daemon.api.get("/alerts") if found["key"] == alert["key"])
    assert (still["id"], still["state"]) == (alert["id"], "standing")  # not over while nobody could tell
    daemon.post("/engines/stop/BTC-USDT")
    assert daemon.status()["daemon"]["risk_state"] == "ACTIVE"
    assert daemon.events("alert_raised")[0]["key"] == "unprotected:BTC/USDT"


def cancel_stop(daemon: DaemonUnderTest) -> None:
    """Cancel the resting stop at the broker, as nobody should."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broker = make_socket(
        context, zmq.DEALER, connect=f"ipc://{daemon.data / 'run' / 'broker.sock'}", identity=b"x"
    )
    try:
        send(broker, encode(AccountRequest(1, None)))
        decode: Decoder[BrokerReply] = Decoder(BrokerReply)

        def stops() -> list[Intent]:
            replies = [decode(frames[-1]) for frames in drain(broker)]
            found = [reply for reply in replies if isinstance(reply, AccountSnapshot)]
            return [intent for reply in found for intent in reply.open_orders if intent.kind == "stop"]

        for stop in wait_for(stops, "the resting stop"):
            send(broker, encode(CancelOrder(stop.symbol, stop.client_id)))
    finally:
        broker.close(1000)
        context.term()
