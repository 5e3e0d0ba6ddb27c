"""Commands about risk and positions, as an operator reads them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable

from levibot.api.caller import Caller, user_name
from levibot.holdings import in_words
from levibot.supervisor.audit import AuditTrail
from tests.api.small_daemon import SmallDaemon
from tests.cli.conftest import Place


def test_kill_switch(served: Place, daemon: SmallDaemon) -> None:
    said = served.ctl("kill", "on", "--reason", "too hot & wild").stdout
    stop, target = "stop of 0.5 at 95 on the exchange", "target of 0.5 at 110 watched by the broker"
    remains = f"no entry rests\nremains: BTC/USDT +0.5, {stop}, {target}\n"
    assert said == f"kill switch on: too hot & wild\n{remains}"
    assert daemon.kill_switch == (True, "too hot & wild")
    again = served.ctl("kill", "on", "--reason", "second").stdout
    assert again.startswith("kill switch on: too hot & wild (it was on already, and its first reason stays)\n")
    assert served.ctl("kill", "off").stdout == "kill switch off\n"
    assert daemon.kill_switch[0] is False


def test_the_daily_stop_is_ended(served: Place, daemon: SmallDaemon) -> None:
    assert served.ctl("risk", "reset-day", "--reason", "looked into").stdout == "the daily stop is cleared\n"
    assert daemon.calls == ["reset_day looked into"]


def test_a_kill_switch_that_the_broker_does_not_confirm_is_told(served: Place, daemon: SmallDaemon) -> None:
    daemon.entries_left = ["test-1-1-E"]
    done = served.ctl("kill", "on", "--timeout", "0.1")
    assert done.returncode == 1
    assert "kill switch on: operator" in done.stdout
    assert "not confirmed within 0.1 s; entries that still rest: test-1-1-E" in done.stderr


def test_no_position_is_called_gone_that_the_broker_has_not_told_of(served: Place, daemon: SmallDaemon) -> None:
    daemon.holdings_known = False
    said = served.ctl("kill", "on").stdout
    assert "no position remains" not in said
    assert "it has not told yet what positions remain" in said


def test_flattening_is_followed_until_all_is_closed(served: Place, daemon: SmallDaemon) -> None:
    daemon.flatten_steps = [{"BTC/USDT": "attempt 1"}, {"BTC/USDT": "attempt 2"}, {"BTC/USDT": "attempt 2"}]
    said = served.ctl("kill", "on", "--flatten").stdout.splitlines()
    assert said == [
        "kill switch on: operator",
        "BTC/USDT: attempt 1",
        "BTC/USDT: attempt 2",
        "BTC/USDT: closed",
        "all is closed; HALTED until `levibotctl kill off`",
    ]


def test_a_flattening_that_does_not_end_is_given_up_with_what_is_left(served: Place, daemon: SmallDaemon) -> None:
    left = {"ETH/USDT": "0.1 left after 3 attempts: no_base"}
    daemon.flatten_steps = [{"BTC/USDT": "attempt 1", **left}, *[left] * 10_000]
    done = served.ctl("kill", "on", "--flatten", "--timeout", "0.5")
    assert done.returncode == 1
    assert "BTC/USDT: closed" in done.stdout.splitlines()
    assert "closed: BTC/USDT; not closed: ETH/USDT: 0.1 left after 3 attempts: no_base" in done.stderr
    assert "levibotctl settle SYMBOL" in done.stderr


def test_what_is_missing_is_settled_and_a_position_is_closed(served: Place, daemon: SmallDaemon) -> None:
    done = served.ctl("settle", "btcusdt", "--price", "99.5", "--reason", "sold by phone")
    assert done.stdout == "BTC/USDT: 0.5 booked as sold at 99.5\n"
    refused = served.ctl("settle", "BTC/USDT", "--reason", "?")
    assert refused.returncode == 1
    assert "nothing is missing" in refused.stderr
    assert "--reason" in served.ctl("settle", "BTC/USDT").stderr
    assert "--price" in served.ctl("settle", "BTC/USDT", "--price", "-1", "--reason", "?").stderr
    assert served.ctl("close", "BTC/USDT", "--pause", "--reason", "news").stdout == "BTC/USDT: closed\n"
    assert daemon.calls == [
        "settle BTC/USDT 99.5 sold by phone",
        "settle BTC/USDT None ?",
        "close BTC/USDT news True",
    ]


def test_ctrl_c_leaves_the_flattening_to_the_daemon(
    served: Place, daemon: SmallDaemon, following: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon.flatten_steps = [{"BTC/USDT": "thin market"}] * 10_000
    process = following("kill", "on", "--flatten")
    assert process.stdout is not None
    while "thin market" not in (line := process.stdout.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=90)
    assert "the daemon goes on to close" in said
    assert (process.returncode, errors) == (0, "")
    assert daemon.flattening


def test_risk_shows_state_limits_and_what_protects_each_position(served: Place, daemon: SmallDaemon) -> None:
    daemon.kill_switch = (True, "too hot")
    lines = served.ctl("risk").stdout.splitlines()
    assert lines[0] == "REDUCING since 2023-11-14 22:13:20 UTC: kill_switch: too hot"
    assert "equity 9,900.00, at the day's start 10,000.00" in lines
    assert "today -1.00%, of that realized unknown" in lines
    assert (
        "  BTC/USDT +0.5, stop of 0.5 at 95 on the exchange, target of 0.5 at 110 watched by the broker" in lines
    )
    assert "  max positions 5" in lines
    assert "  max order notional none" in lines
    assert "exposure gross 50.00, net -50.00, in the quote asset" in lines
    assert "  symbol *, rule drawdown, reason fell, until 2023-11-14 22:13:20 UTC" in lines
    assert json.loads(served.ctl("risk", "--json").stdout)["policy"]["max_positions"] == 5


def test_the_audit_is_shown_with_and_without_a_daemon(place: Place, daemon: SmallDaemon) -> None:
    with place.serving(daemon):
        place.ctl("pause", "btcusdt", "--reason", "news at noon")
        place.ctl("kill", "on", "--reason", "too hot")
        said = place.ctl("audit").stdout.splitlines()
        user = user_name(os.getuid())
        assert said[0] == f"2026-01-31 10:00:00  {user} (unix)  pause BTC/USDT: news at noon"
        assert said[1] == f"2026-01-31 10:00:00  {user} (unix)  kill portfolio on=true: too hot"
        daemon.unwritten = 2
        assert "the disk has not taken 2 of these yet" in place.ctl("audit", "-n", "1").stderr
    state = place.data / "paper-simulated-default"
    assert place.ctl("audit").stdout == "nothing was done yet\n"
    trail = AuditTrail(state / "audit.jsonl", lambda: 1_700_000_000_000, lambda _error: None)
    trail.note(Caller("signal", "SIGTERM"), "stop", "daemon", outcome="refused: busy")
    assert place.ctl("audit").stdout == "2023-11-14 22:13:20  SIGTERM (signal)  stop daemon  refused: busy\n"
    assert place.ctl("audit", "--since", "2023-11-14T22:13:21").stdout == "nothing was done yet\n"
    heading, row = place.ctl("audit", "--since", "2023-11-14", "--csv").stdout.splitlines()
    assert heading == "time,name,way,address,action,subject,options,reason,outcome"
    assert row.startswith("2023-11-14T22:13:20.000+00:00,SIGTERM,signal,,stop,daemon,")


def test_what_becomes_of_positions_is_said_and_asked(served: Place, daemon: SmallDaemon) -> None:
    stop = "stop of 0.5 at 95 on the exchange"
    said = served.ctl("stop", "BTC/USDT").stdout
    watched = "target of 0.5 at 110 watched by the broker"
    assert said == f"BTC/USDT stopped; what remains: BTC/USDT +0.5, {stop}, {watched}\n"
    served.ctl("remove", "ETH/USDT", "--flatten")
    served.ctl("remove", "ETH/USDT:USDT", "--keep")
    served.ctl("reload", "--keep")
    assert daemon.calls == ["remove ETH/USDT True False", "remove ETH/USDT:USDT False True", "reload False True"]


def test_dust_is_named_and_amounts_are_plain() -> None:
    holding = {"symbol": "BTC/USDT", "quantity": 3.87e-06, "protection": [], "dust": True}
    assert in_words(holding, ends=True) == "BTC/USDT +0.00000387, dust: too small to be sold"
    bare = {**holding, "dust": False}
    assert in_words(bare, ends=True) == "BTC/USDT +0.00000387, NOT protected by any order"
