"""What users see: texts and exit codes of the real `levibotctl` against the real server."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest

from levibot.alerting.alert import Alert
from levibot.supervisor.lock import acquire
from tests.api.small_daemon import SmallDaemon
from tests.cli.conftest import Place
from tests.deadline import wait_for

Following = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "status BTC/USDT",
        "status feed",
        "status --json",
        "stop",
        "stop BTC/USDT",
        "start BTC/USDT",
        "pause BTC/USDT",
        "reload",
        "upgrade",
        "reset --all",
        "kill on",
        "risk",
        "risk reset-day",
        "tap tick",
    ],
)
def test_without_a_daemon_the_exit_code_is_3(place: Place, command: str) -> None:
    done = place.ctl(*command.split())
    assert done.returncode == 3
    assert done.stderr == "Error: the daemon is not running; start it with `levibotctl start`\n"


@pytest.mark.parametrize(
    "command",
    ["stop DOGE", "status DOGE", "pause DOGE", "reset DOGE", "tap tick.DOGE", "logs DOGE", "start DOGE SHIB/USDT"],
)
def test_an_unknown_symbol_has_exit_code_4(served: Place, command: str) -> None:
    done = served.ctl(*command.split())
    assert done.returncode == 4
    assert done.stderr.startswith("Error: no such symbol: 'DOGE'")
    assert "BTC/USDT" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "nope",
        "pause",
        "reset",
        "reset BTC/USDT --all",
        "kill maybe",
        "kill off --flatten",
        "remove BTC/USDT --flatten --keep",
        "reload --flatten --keep",
        "tap fill",
        "status --watch",
        "--nope",
        "logs",
    ],
)
def test_wrong_usage_has_exit_code_2(served: Place, command: str) -> None:
    assert served.ctl(*command.split()).returncode == 2


def test_an_unknown_command_is_told_the_nearest(served: Place) -> None:
    assert "No such command 'stauts'; did you mean status?" in served.ctl("stauts").stderr


def test_the_list_of_commands_cuts_no_sentence_off(served: Place) -> None:
    assert "..." not in served.ctl("--help").stdout.partition("Commands:")[2]


def test_engine_commands(served: Place, daemon: SmallDaemon) -> None:
    done = served.ctl("stop", "BTC-USDT", "ethusdt")
    first, second = done.stdout.splitlines()
    assert (done.returncode, second) == (0, "ETH/USDT stopped")
    assert first.startswith("BTC/USDT stopped; what remains: BTC/USDT +0.5, stop of 0.5 at 95 on the exchange")
    assert daemon.states["BTC/USDT"] == daemon.states["ETH/USDT"] == "stopped"
    assert served.ctl("start", "BTC/USDT").stdout == "BTC/USDT started\n"
    assert served.ctl("pause", "BTC/USDT").stdout == "BTC/USDT paused\n"
    assert served.ctl("resume", "BTC/USDT").stdout == "BTC/USDT resumed\n"
    assert served.ctl("restart", "BTC/USDT").stdout == "BTC/USDT restarted\n"
    assert served.ctl("add", "SOL/USDT").stdout == "holds until the next reload\n"
    assert served.ctl("remove", "SOLUSDT").stdout == "holds until the next reload\n"
    assert served.ctl("reset", "BTC/USDT").stdout == "BTC/USDT reset\n"
    assert served.ctl("reset", "--all").returncode == 0
    assert daemon.calls == ["restart BTC/USDT", "remove SOL/USDT False False", "reset BTC/USDT", "reset None"]


def test_what_serves_all_symbols_is_restarted_by_its_name(served: Place, daemon: SmallDaemon) -> None:
    done = served.ctl("restart", "feed", "levi-feed", "BTC/USDT")
    assert (done.returncode, done.stdout) == (0, "feed restarted\nfeed restarted\nBTC/USDT restarted\n")
    assert daemon.calls == ["restart feed", "restart feed", "restart BTC/USDT"]
    done = served.ctl("restart", "inference-7")
    assert done.returncode == 4
    assert done.stderr.startswith("Error: no such worker: 'inference-7' (there are: feed)")


@pytest.mark.parametrize(("typed", "restarted"), [("n", False), ("y", True)])
def test_on_a_terminal_it_is_asked_first_and_told_what_it_interrupts(
    served: Place, daemon: SmallDaemon, typed: str, restarted: bool
) -> None:
    terminal, ours = pty.openpty()
    with subprocess.Popen(
        served.command("restart", "feed"), stdin=ours, stdout=subprocess.PIPE, text=True, env=served.environ
    ) as process:
        os.write(terminal, f"{typed}\n".encode())
        said, _ = process.communicate(timeout=90)
    os.close(ours)
    os.close(terminal)
    assert "restarting feed interrupts: no symbol has market data until it is back" in said
    assert (process.returncode, daemon.calls) == (0, ["restart feed"] if restarted else [])


def test_a_refused_symbol_does_not_keep_the_others_from_it(served: Place, daemon: SmallDaemon) -> None:
    daemon.states["BTC/USDT"] = "stopped"
    done = served.ctl("stop", "BTC/USDT", "DOGE", "ETH/USDT")
    assert done.returncode == 1
    assert "BTC/USDT is stopped already" in done.stderr
    assert "no such symbol: 'DOGE'" in done.stderr
    assert daemon.states["ETH/USDT"] == "stopped"


def test_reload_says_what_it_did_or_what_is_wrong(served: Place, daemon: SmallDaemon) -> None:
    assert served.ctl("reload").stdout == "added: SOL/USDT\n1 added\n"
    daemon.broken_file = True
    done = served.ctl("reload")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: /etc/x.toml:3: feed.sped: no such key; did you mean feed.speed?\n")
    assert "nothing has changed" in done.stderr


def test_an_error_inside_the_daemon_is_told_without_traceback(served: Place) -> None:
    done = served.ctl("upgrade")
    assert done.returncode == 1
    assert done.stderr == ("Error: ValueError: this daemon cannot be upgraded\nsee `levibotctl logs supervisor`\n")


# ---------------------------------------------------------------------- status


def test_status_as_json_is_the_document(served: Place) -> None:
    document = json.loads(served.ctl("status", "--json").stdout)
    assert document["total"] == 3
    assert [engine["symbol"] for engine in document["engines"]] == ["BTC/USDT", "ETH/USDT", "ETH/USDT:USDT"]
    assert json.loads(served.ctl("status", "btcusdt", "--json").stdout)["symbol"] == "BTC/USDT"
    assert json.loads(served.ctl("status", "feed", "--json").stdout)["worker"] == "feed"


def test_status_as_a_table_is_whole_when_piped(served: Place, daemon: SmallDaemon) -> None:
    daemon.states["BTC/USDT"] = "paused"
    text = served.ctl("status").stdout
    line = next(line for line in text.splitlines() if "BTC/USDT" in line)
    assert re.split(r"\s{2,}", line.strip())[1:] == [
        "paused",
        "1h02m",
        "101.50",
        "long",
        "0.62",
        "+0.5",
        "+1.25",
        "-2.50",
        "2",
        "0.2s",
        "30 MB",
    ]
    assert "SIMULATED market with a planted pattern" in text
    assert "warning: feed restarted; see its log" in text
    assert "equity 10,000.00" in text


def test_status_of_one_engine_shows_every_field(served: Place) -> None:
    text = served.ctl("status", "BTC/USDT").stdout
    assert "restart causes           crash 2" in text
    assert "last heartbeat           2023-11-14 22:13:20 UTC" in text
    assert "probability of the bet   –" in text
    assert "P(up)                    0.625" in text


def test_watching_survives_a_restart_of_the_daemon(
    place: Place, daemon: SmallDaemon, following: Following
) -> None:
    with place.serving(daemon):
        process = following("status", "--json", "--watch")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["total"] == 3
    with place.serving(SmallDaemon("SOL/USDT")):
        totals = (json.loads(line)["total"] for line in process.stdout)
        assert next(total for total in totals if total != 3) == 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_causes_no_traceback(served: Place) -> None:
    pipeline = subprocess.run(
        ["bash", "-c", '"$@" | true', "-", *served.command("status")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=served.environ,
    )
    assert pipeline.stderr == ""


# ---------------------------------------------------------------------- start, stop, run


def test_a_second_start_says_that_one_runs(served: Place, daemon: SmallDaemon) -> None:
    done = served.ctl("start")
    assert done.returncode == 1
    assert f"already running as process {daemon.pid}" in done.stderr


@pytest.mark.parametrize("command", ["start", "run"])
def test_a_wrong_configuration_is_told_by_line(place: Place, command: str) -> None:
    place.config.write_text(place.config.read_text() + "[api]\nprt = 1\n")
    done = place.ctl(command)
    assert done.returncode == 1
    assert f"{place.config}:5: api.prt: no such key; did you mean api.port?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_daemon_that_ends_at_once_has_its_last_words_shown(place: Place) -> None:
    place.data.mkdir(mode=0o700)
    lock = acquire(place.data / "supervisor.lock")
    try:
        done = place.ctl("start")
    finally:
        lock.release()
    assert done.returncode == 1
    assert "the daemon ended with exit code 1 before it was ready. It said:\n  levibot: " in done.stderr
    assert str(place.data / "logs" / "daemon.out") in done.stderr


def test_stop_returns_when_the_process_is_gone_and_names_what_remains(served: Place, daemon: SmallDaemon) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        daemon.pid = process.pid
        threading.Thread(target=lambda: (wait_for(lambda: daemon.stopping, "stop"), process.kill())).start()
        done = served.ctl("stop")
        assert process.wait(60) == -signal.SIGKILL
    assert done.returncode == 0
    assert done.stdout == (
        "stopped; positions remain:\n  BTC/USDT +0.5, stop of 0.5 at 95 on the exchange, "
        "target of 0.5 at 110 kept by the broker, NOT watched until the next start\n"
    )


def test_stop_says_if_the_process_does_not_go(served: Place, daemon: SmallDaemon) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        daemon.pid = process.pid
        done = served.ctl("stop", "--timeout", "0.2")
        assert process.poll() is None
        process.kill()
    assert done.returncode == 1
    assert f"(process {daemon.pid}) still stops after 0.2 s" in done.stderr


# ---------------------------------------------------------------------- config, completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(place: Place, shell: str) -> None:
    assert f"_LEVIBOTCTL_COMPLETE={shell}_complete" in place.ctl("completion", shell).stdout


def test_completion_knows_commands_and_the_daemons_symbols(served: Place) -> None:
    def complete(words: str, position: int) -> str:
        return served.ctl(_LEVIBOTCTL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position)).stdout

    assert complete("levibotctl pa", 1) == "plain,pause\n"
    assert complete(f"levibotctl -c {served.config} pause BT", 4) == "plain,BTC/USDT\n"


def test_version_and_help(place: Place) -> None:
    assert place.ctl("--version").stdout.startswith("levibotctl, version 0.")
    assert "3 the daemon is not running" in " ".join(place.ctl("--help").stdout.split())


def test_an_alert_is_listed_with_its_state_and_its_severity(served: Place, daemon: SmallDaemon) -> None:
    alerts = (
        Alert("kill_switch", "warning", "the kill switch is on", "end it", 60_000, 60_000, 1, 120_000, "over"),
        Alert("daily_stop", "critical", "stopped for the day", "wait", 180_000, 240_000, 2),
    )
    daemon.listed = list(alerts)
    daemon.waiting.set()
    over, _, standing, _, remedy = served.ctl("alerts", "--all").stdout.splitlines()
    assert over == "1970-01-01 00:01:00 to 1970-01-01 00:02:00 (over)  over      warning   kill_switch"
    assert standing == ("1970-01-01 00:03:00  standing  critical  daily_stop, 2 times, last 1970-01-01 00:04:00")
    assert remedy == "    → wait"
