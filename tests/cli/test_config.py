"""`levibotctl config`: what is wrong is found before a daemon starts."""

from __future__ import annotations

import json
import tomllib

import pytest

from levibot.config_execution import CONFIRMATION
from levibot.config_file import load
from tests.cli.conftest import Place


def test_config_check(place: Place) -> None:
    done = place.ctl("config", "check", LEVIBOT_API__PORT="8080")
    assert done.returncode == 0
    assert done.stdout == f"ok: {place.config}, changed by LEVIBOT_API__PORT; 2 symbols, source simulated\n"
    place.config.write_text('[overrides."BTC/USDT"]\nstrategy = "smacross"')
    done = place.ctl("config", "check")
    assert done.returncode == 1
    assert "BTC/USDT: engine.strategy = 'smacross'" in done.stderr
    assert "sma_cross" in done.stderr


def test_config_check_finds_a_missing_folder(place: Place) -> None:
    place.config.write_text('[feed]\nsource = "replay"\npath = "nowhere"')
    done = place.ctl("config", "check")
    assert done.returncode == 1
    assert f"feed.path: {place.config.parent}/nowhere does not exist" in done.stderr


def test_config_check_knows_the_exchanges_of_ccxt(place: Place) -> None:
    place.config.write_text('[feed]\nsource = "ccxt"')
    assert place.ctl("config", "check").stdout.endswith("source ccxt\n")
    place.config.write_text('[exchange]\nid = "binanse"\n[feed]\nsource = "ccxt"')
    done = place.ctl("config", "check")
    assert done.returncode == 1
    assert f"{place.config}: [exchange] id = 'binanse': no such exchange; did you mean binance?" in done.stderr
    for command in ("start", "run"):
        done = place.ctl(command)
        assert done.returncode == 1
        assert done.stderr.endswith("[exchange] id = 'binanse': no such exchange; did you mean binance?\n")
        assert done.stderr.count("\n") == 1
    assert not list(place.data.glob("**/supervisor-*.jsonl")), "nothing was started"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("sandbox = true", "[exchange] sandbox: mexc has none; set it to false"),
        ('[exchange.urls]\n"spot.pubic" = "http://127.0.0.1:9"', 'did you mean "spot.public"?'),
    ],
)
def test_config_check_tries_what_only_ccxt_knows(place: Place, settings: str, words: str) -> None:
    place.config.write_text(f'[feed]\nsource = "ccxt"\n[exchange]\n{settings}\n')
    done = place.ctl("config", "check")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{place.config}: [exchange" in done.stderr
    assert words in done.stderr
    place.config.write_text('[feed]\nsource = "ccxt"\n[exchange]\nid = "binance"\nsandbox = true\n')
    assert place.ctl("config", "check").returncode == 0


def test_config_check_finds_programs_and_files_that_cannot_work(place: Place) -> None:
    folder = place.config.parent
    targets, heartbeat = folder / "targets", folder / "heartbeat"
    place.config.write_text(
        '[alerts]\nhook = ["/no/such/bin"]\ntargets_file = "targets"\nheartbeat_file = "heartbeat"\n'
    )
    missing = place.ctl("config", "check")
    assert missing.returncode == 1
    assert missing.stderr.splitlines() == [
        "Error: alerts.hook: /no/such/bin is no program that can be run; correct it, or make it executable "
        "with `chmod +x`",
        f"alerts.targets_file {targets} cannot be read (No such file or directory); "
        "create it, or correct the path",
        f"alerts.heartbeat_file {heartbeat} cannot be read (No such file or directory); "
        "create it, or correct the path",
    ]
    targets.write_text("# mine\njson://127.0.0.1/SECRET/\nSECRET nonsense\n")
    heartbeat.write_text("ftp://127.0.0.1/SECRET\n")
    place.config.write_text(place.config.read_text().replace("/no/such/bin", "true"))
    open_to_others = place.ctl("config", "check")
    assert open_to_others.stderr.splitlines() == [
        f"{prefix} has mode 0644: others can use it; `chmod 600 {path}`"
        for prefix, path in [
            (f"Error: alerts.targets_file {targets}", targets),
            (f"alerts.heartbeat_file {heartbeat}", heartbeat),
        ]
    ]
    targets.chmod(0o600)
    heartbeat.chmod(0o600)
    garbage = place.ctl("config", "check")
    assert garbage.returncode == 1
    assert garbage.stderr.splitlines() == [
        f"Error: alerts.targets_file {targets}:3: expected an apprise URL (SCHEME://…); "
        "correct the line, or remove it",
        f"alerts.heartbeat_file {heartbeat} must hold one http or https URL, and nothing else",
    ]
    targets.write_text("json://127.0.0.1/SECRET/\n")
    heartbeat.write_text("https://127.0.0.1/SECRET\n")
    assert place.ctl("config", "check").returncode == 0


def test_config_check_refuses_to_play_what_is_being_recorded(place: Place) -> None:
    folder = place.config.parent / "state" / "paper-replay-default" / "recordings" / "feed"
    folder.mkdir(parents=True)
    place.config.write_text(
        f'[supervisor]\ndata_dir = "state"\n[feed]\nsource = "replay"\nrecord = true\npath = "{folder}"\n'
    )
    done = place.ctl("config", "check")
    assert done.returncode == 1
    assert f"feed.path: {folder} is where record = true writes to; move the recording" in done.stderr
    place.config.write_text(place.config.read_text().replace("record = true", "record = false"))
    assert place.ctl("config", "check").returncode == 0


def test_config_check_warns_of_models_that_could_not_be_written(place: Place) -> None:
    place.config.write_text('[inference]\nmodels_dir = "/dev/null/models"')
    done = place.ctl("config", "check")
    assert done.returncode == 0
    assert "Warning: inference.models_dir: /dev/null/models cannot be written to" in done.stderr


def test_config_show_gives_a_file_with_the_same_meaning(place: Place) -> None:
    place.config.write_text(
        'symbols = ["BTC/USDT", "ETH/USDT:USDT"]\n[engine]\nstrategy_options = { fast = 3, name = "a\\"b" }\n'
        '[overrides."ETH/USDT:USDT"]\nstop_loss = 0.01\n[supervisor]\ndata_dir = "x"'
    )
    shown = place.ctl("config", "show", LEVIBOT_API__PORT="8080").stdout
    copy = place.config.with_name("copy.toml")
    copy.write_text(shown)
    assert load(copy, {}).config == load(place.config, {"LEVIBOT_API__PORT": "8080"}).config
    assert tomllib.loads(shown)["overrides"] == {"ETH/USDT:USDT": {"stop_loss": 0.01}}


def test_config_schema_is_json(place: Place) -> None:
    assert json.loads(place.ctl("config", "schema").stdout)["title"] == "supervisor.toml"


LIVE = """mode = "live"
symbols = ["BTC/USDT"]
[supervisor]
data_dir = "data"
[exchange]
id = "mexc"
[feed]
source = "ccxt"
[live]
"""
CONFIRMED = f'confirm = "{CONFIRMATION}"\n'


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('confirm = "yes"\n', 'supervisor.toml:10: live.confirm: mode = "live" needs [live] confirm'),
        (CONFIRMED, "needs LEVIBOT_API_KEY and LEVIBOT_API_SECRET"),
        (f'{CONFIRMED}credentials = "systemd"\n', "LoadCredential=exchange:FILE"),
        (f'{CONFIRMED}credentials = "file"\ncredentials_file = "gone"\n', "gone cannot be read"),
        (f'{CONFIRMED}credentials = "file"\ncredentials_file = "key"\n', "has mode 0644: others can use it"),
    ],
)
def test_start_launches_nothing_that_cannot_trade(place: Place, settings: str, words: str) -> None:
    place.config.write_text(LIVE + settings)
    key = place.config.parent / "key"
    key.write_text('key = "12345678"\nsecret = "12345678"\n')
    key.chmod(0o644)
    done = place.ctl("start")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert not place.data.exists(), "nothing was started"


def test_config_check_doubts_what_another_environment_may_have(place: Place) -> None:
    place.config.write_text(LIVE + CONFIRMED)
    done = place.ctl("config", "check")
    assert done.returncode == 0
    assert "needs LEVIBOT_API_KEY and LEVIBOT_API_SECRET" in done.stderr
    assert "mexc keeps no stops: none of the symbols will be entered" in done.stderr
    done = place.ctl("config", "check", LEVIBOT_API_KEY="12345678", LEVIBOT_API_SECRET="12345678")
    assert "LEVIBOT_API_KEY" not in done.stderr
