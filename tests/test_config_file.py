"""From file and environment to settings, and what is said of mistakes."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.config import Config
from levibot.config_environment import key_paths
from levibot.config_errors import find_line
from levibot.config_file import endpoints, load
from levibot.config_schema import schema_text
from levibot.errors import ConfigError

ROOT = Path(__file__).parents[1]
DEFAULT_FILE = ROOT / "supervisor.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "supervisor.toml"


def complaint(path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Lines of the error that `text` causes, with FILE in place of the path."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value).replace(str(path), "FILE").splitlines()


# ---------------------------------------------------------------------- the default file and the schema


def test_the_default_file_says_what_the_embedded_defaults_are() -> None:
    tables = tomllib.loads(DEFAULT_FILE.read_text())
    assert load(DEFAULT_FILE, {}).config.model_dump(exclude={"supervisor"}) == Config().model_dump(
        exclude={"supervisor"}
    )
    assert tables["supervisor"]["data_dir"] == str(Config().supervisor.data_dir)


@pytest.mark.parametrize("key", [".".join(path) for path, _ in key_paths()])
def test_the_default_file_shows_and_explains_every_key(key: str) -> None:
    lines = DEFAULT_FILE.read_text().splitlines()
    line = find_line("\n".join(line.removeprefix("# ") for line in lines), tuple(key.split(".")))
    assert line is not None, f"{key} is missing"
    around = lines[max(0, line - 2) : line + 1]
    assert any(text.startswith("#") for text in around), f"{key} has no comment"


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "docs" / "supervisor.schema.json").read_text()
    assert published == schema_text(), "run `levibotctl config schema > docs/supervisor.schema.json`"
    assert DEFAULT_FILE.read_text().startswith("#:schema docs/supervisor.schema.json\n")


# ---------------------------------------------------------------------- what is read


def test_paths_are_relative_to_the_file(path: Path, tmp_path: Path) -> None:
    path.write_text('[supervisor]\ndata_dir = "state"\n[feed]\nsource = "replay"\npath = "../candles"')
    config = load(path, {}).config
    assert config.supervisor.data_dir == tmp_path / "state"
    assert config.feed.path == tmp_path.parent / "candles"


def test_paths_of_the_environment_are_relative_to_the_working_directory(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path.write_text('[supervisor]\ndata_dir = "state"\nrun_dir = "run"')
    config = load(path, {"LEVIBOT_SUPERVISOR__DATA_DIR": "mine"}).config
    assert config.supervisor.data_dir == tmp_path / "elsewhere" / "mine"
    assert config.supervisor.run_dir == tmp_path / "run"


def test_an_override_changes_one_symbol_and_only_what_it_names(path: Path) -> None:
    path.write_text('[engine]\nstop_loss = 0.1\n[overrides."BTC/USDT"]\ncycle_interval = 0.5')
    config = load(path, {}).config
    assert config.engine_of("BTC/USDT").cycle_interval == 0.5
    assert config.engine_of("BTC/USDT").stop_loss == 0.1
    assert config.engine_of("ETH/USDT").cycle_interval == 1.0


def test_an_override_of_a_symbol_that_is_not_traded_is_pointed_out(path: Path) -> None:
    path.write_text('[overrides."DOGE/USDT"]\ncycle_interval = 0.5')
    assert load(path, {}).warnings == ['overrides."DOGE/USDT": has no effect, DOGE/USDT is not among symbols']


def test_a_strategy_that_asks_a_pool_that_is_not_there_is_pointed_out(path: Path) -> None:
    path.write_text('[inference]\nprocesses = 0\n[engine]\nstrategy = "sma_cross"')
    assert load(path, {}).warnings == []
    path.write_text(path.read_text() + '\n[overrides."BTC/USDT"]\nstrategy = "ensemble"')
    (warning,) = load(path, {}).warnings
    assert warning.startswith("inference.processes: 0 starts no inference pool")


def test_a_policy_keeps_the_defaults_of_its_kind_for_what_is_not_given(path: Path) -> None:
    path.write_text("[policy.feed]\nstop_grace = 3.0\n[policy.engine]\nstop_grace = 4.0")
    policy = load(path, {}).config.policy
    assert (policy.feed.stop_grace, policy.feed.restart_budget, policy.feed.max_memory_mb) == (3.0, 0, 1024.0)
    assert (policy.engine.stop_grace, policy.engine.restart_budget) == (4.0, 5)


def test_money_is_exact(path: Path) -> None:
    path.write_text("[paper]\ncash = 0.1")
    assert load(path, {}).config.paper.cash == Decimal("0.1")


def test_all_endpoints_differ_and_lie_in_one_folder(run_dir: Path) -> None:
    environment = {"LEVIBOT_SUPERVISOR__RUN_DIR": str(run_dir), "LEVIBOT_INFERENCE__TFT_PROCESSES": "3"}
    config = load(DEFAULT_FILE, environment).config
    ends = endpoints(config, {}).model_dump()
    addresses = [*ends.pop("inference"), *ends.pop("tft"), *ends.values()]
    assert len(addresses) == config.inference.processes + 3 + len(ends)
    assert len(set(addresses)) == len(addresses)
    assert all(address.startswith(f"ipc://{run_dir}/") for address in addresses)


# ---------------------------------------------------------------------- environment


def test_the_environment_wins_over_the_file(path: Path) -> None:
    path.write_text('symbols = ["BTC/USDT"]\n[api]\nport = 1\n[policy.engine]\nstop_grace = 9.0')
    loaded = load(
        path,
        {
            "LEVIBOT_SYMBOLS": '["SOL/USDT"]',
            "LEVIBOT_API__PORT": "8080",
            "LEVIBOT_POLICY__ENGINE__HANG_AFTER": "4",
            "LEVIBOT_ENGINE__STRATEGY_OPTIONS__FAST": "3",
            "LEVIBOT_EXCHANGE__ACCOUNT": "123",
            "LEVIBOT_FEED__LOCKSTEP": "true",
            "LEVIBOT_PAPER__CASH": "5000.10",
            "LEVIBOT_OVERRIDES": '{"SOL/USDT": {"stop_loss": 0.5}}',
            "LEVIBOT_LOGGING__LEVEL": "",
            "LEVIBOT_CONFIG": "not a setting",
            "LEVIBOT_HOME": "somebody else's",
        },
    )
    config = loaded.config
    assert config.symbols == ("SOL/USDT",)
    assert config.api.port == 8080
    assert (config.policy.engine.hang_after, config.policy.engine.stop_grace) == (4.0, 9.0)
    assert config.engine.strategy_options == {"fast": 3}
    assert config.exchange.account == "123"
    assert config.feed.lockstep is True
    assert config.paper.cash == Decimal("5000.10")
    assert config.engine_of("SOL/USDT").stop_loss == 0.5
    assert config.logging.level == "info"
    assert "LEVIBOT_API__PORT" in [override.variable for override in loaded.overrides]


def test_a_variable_that_means_nothing_is_refused_with_the_nearest(path: Path) -> None:
    environ = {"LEVIBOT_API__POT": "1", "LEVIBOT_SUPERVISOR__DATADIR": "x"}
    assert complaint(path, "", environ) == [
        "LEVIBOT_API__POT: no such setting; did you mean LEVIBOT_API__PORT?",
        "LEVIBOT_SUPERVISOR__DATADIR: no such setting; did you mean LEVIBOT_SUPERVISOR__DATA_DIR?",
    ]


def test_a_wrong_value_of_a_variable_names_the_variable(path: Path) -> None:
    environ = {"LEVIBOT_API__PORT": "abc", "LEVIBOT_SYMBOLS": "BTC/USDT", "LEVIBOT_FEED__SOURCE": "replay"}
    assert complaint(path, "[api]\nport = 1", environ) == [
        'LEVIBOT_API__PORT: api.port: expected a whole number from 0 to 65535, found "abc"',
        'LEVIBOT_FEED__SOURCE: feed: source = "replay" needs path = "FOLDER"',
        'LEVIBOT_SYMBOLS: symbols: expected a list, each text, with at least 1 of them, found "BTC/USDT"',
    ]


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_whatever_a_variable_holds_is_taken_or_refused_by_name(text: str) -> None:
    for variable in ("LEVIBOT_API__PORT", "LEVIBOT_EXCHANGE__ACCOUNT", "LEVIBOT_ENGINE", "LEVIBOT_PAPER__CASH"):
        said = variable
        try:
            load(DEFAULT_FILE, {variable: text})
        except ConfigError as error:
            said = str(error)
        assert variable in said


# ---------------------------------------------------------------------- mistakes


def test_all_mistakes_are_told_at_once_with_line_key_and_remedy(path: Path) -> None:
    text = """\
# a comment
symbols = [
  "BTC/USDT",
  "BTCUSDT",
]
cycle_interval = 2
[feed]
sped = 60
tick_hz = -1
source = "kafka"
[engine]
cycle_interval = "1"
strategy_options = { fast = [1] }
record_inputs = 1
[overrides."BTC/USDT"]
cycle_intervall = 2
stop_loss = 3
[overrides.ETHUSDT]
[policy.feed]
restart_delays = []
restart_budget = 1.5
hang_after = inf
[paper]
cash = "much"
spread = true
[exchange]
id = "X Y"
[supervisor]
data_dir = 3
[fed]
"""
    assert complaint(path, text) == [
        "FILE:4: symbols[1]: 'BTCUSDT' is no symbol; write it as BASE/QUOTE, for example BTC/USDT",
        "FILE:6: cycle_interval: no such key; did you mean engine.cycle_interval?",
        "FILE:8: feed.sped: no such key; did you mean feed.speed?",
        "FILE:9: feed.tick_hz: expected a number greater than 0 and at most 1000, found -1",
        'FILE:10: feed.source: expected one of "simulated", "replay", "ccxt", found "kafka"',
        'FILE:12: engine.cycle_interval: expected a number greater than 0, found "1"',
        "FILE:13: engine.strategy_options.fast: expected a whole number or a number or text or true or false, "
        "found [1]",
        "FILE:14: engine.record_inputs: expected true or false, found 1",
        'FILE:16: overrides."BTC/USDT".cycle_intervall: no such key; '
        'did you mean overrides."BTC/USDT".cycle_interval?',
        'FILE:17: overrides."BTC/USDT".stop_loss: expected a number greater than 0 and less than 1, found 3',
        "FILE:18: overrides.ETHUSDT: 'ETHUSDT' is no symbol; write it as BASE/QUOTE, for example BTC/USDT",
        "FILE:20: policy.feed.restart_delays: expected a list, each a number at least 0, "
        "with at least 1 of them, found []",
        "FILE:21: policy.feed.restart_budget: expected a whole number at least 0, found 1.5",
        "FILE:22: policy.feed.hang_after: expected a number greater than 0, found Infinity",
        'FILE:24: paper.cash: expected a number at least 0, found "much"',
        "FILE:25: paper.spread: expected a number from 0 to 1, found true",
        'FILE:27: exchange.id: expected text that matches ^[a-z0-9]+$, found "X Y"',
        "FILE:29: supervisor.data_dir: expected a path, found 3",
        "FILE:30: fed: no such key; did you mean feed?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('symbols = ["A/B", "A/B"]', "FILE:1: symbols: A/B is named twice; name each symbol once"),
        ("symbols = []", "FILE:1: symbols: expected a list, each text, with at least 1 of them, found []"),
        (
            "[inference]\ndeadline = 500.0",
            "FILE:2: inference.deadline: expected a number greater than 0 and at most 10, found 500.0",
        ),
        ("feed = 3", "FILE:1: feed: expected a table, found 3"),
        ("\n[feed]\nsource = 'replay'", 'FILE:2: feed: source = "replay" needs path = "FOLDER"'),
        ("[api]\nport = 1\nport = 2", "FILE:3: not valid TOML: Cannot overwrite a value"),
        ("[api]\n\n\nport = ", "FILE:4: not valid TOML: Invalid value"),
        ("api.port = 70000", "FILE:1: api.port: expected a whole number from 0 to 65535, found 70000"),
        ('[ api ]\n"port" = 70000', "FILE:2: api.port: expected a whole number from 0 to 65535, found 70000"),
        (
            '[api]\nhost = "not a host"',
            "FILE:2: api.host: 'not a host' is no name or address of a host; "
            "write it without a port, scheme or wildcard",
        ),
        (
            'api.allowed_hosts = ["bot.example.org:8383"]',
            "FILE:1: api.allowed_hosts[0]: 'bot.example.org:8383' is no name or address of a host; "
            "write it without a port, scheme or wildcard",
        ),
        (
            'api.allowed_hosts = ["*"]',
            "FILE:1: api.allowed_hosts[0]: '*' is no name or address of a host; "
            "write it without a port, scheme or wildcard",
        ),
        ("nothing_like_it = 1", None),
    ],
)
def test_single_mistakes(path: Path, text: str, said: str | None) -> None:
    lines = complaint(path, text)
    assert len(lines) == 1
    if said is None:
        assert lines[0].startswith("FILE:1: nothing_like_it: no such key; known here: alerts, altdata, api, ")
    else:
        assert lines[0] == said


def test_no_message_speaks_of_the_library(path: Path) -> None:
    text = "\n".join(complaint(path, "symbols = 1\nmode = 2\nfeed = 3\n[engine]\nstrategy_options = 1"))
    assert not re.search(r"pydantic|validation error|Input should|model|tuple|dict", text, re.IGNORECASE)


def test_a_file_that_is_no_text_is_refused(path: Path) -> None:
    path.write_bytes(b"symbols = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(path, {})


@given(st.text(max_size=200))
def test_looking_for_a_line_never_fails(text: str) -> None:
    line = find_line(text, ("feed", "speed"), "x")
    assert line is None or 1 <= line <= len(text.splitlines())


def test_a_hang_limit_below_two_heartbeats_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.toml"
    path.write_text("[policy.feed]\nhang_after = 1.5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"policy\.feed.*at least twice heartbeat_interval"):
        load(path, {})


def test_an_exchange_is_reached_by_plain_configuration_that_holds_no_secrets(path: Path) -> None:
    path.write_text(
        """[exchange]
id = "binance"
sandbox = true
proxy = "http://127.0.0.1:3128"
requests_per_minute = 600
[exchange.urls]
public = "http://127.0.0.1:1/api"
"ws.spot" = "ws://127.0.0.1:1/stream"
[exchange.options]
recvWindow = 5000
fetchMarkets = { types = ["spot"] }
"""
    )
    exchange = load(path, {"LEVIBOT_EXCHANGE__FEED_SHARE": "0.5"}).config.exchange
    assert exchange.urls == {"public": "http://127.0.0.1:1/api", "ws.spot": "ws://127.0.0.1:1/stream"}
    assert exchange.options == {"recvWindow": 5000, "fetchMarkets": {"types": ["spot"]}}
    assert (exchange.sandbox, exchange.requests_per_minute, exchange.feed_share) == (True, 600, 0.5)


def test_secrets_and_impossible_shares_of_an_exchange_are_refused(path: Path) -> None:
    text = """\
[exchange]
proxy = "socks5://127.0.0.1:1"
feed_share = 0.5
requests_per_minute = 0
[exchange.urls]
public = "http://me:pass@127.0.0.1:1/api"
"ws.spot" = "127.0.0.1"
[exchange.options]
apiKey = "k"
"""
    assert complaint(path, text) == [
        "FILE:2: exchange.proxy: expected a URL such as http://127.0.0.1:8080 or wss://stream.example.org",
        "FILE:4: exchange.requests_per_minute: expected a number greater than 0, found 0",
        "FILE:6: exchange.urls.public: a URL here may hold no user, password or query: this file is no place for "
        "secrets",
        'FILE:7: exchange.urls."ws.spot": expected a URL such as http://127.0.0.1:8080 or '
        "wss://stream.example.org",
        "FILE:8: exchange.options: apiKey is a secret: this file is no place for it",
    ]
    assert complaint(path, "[exchange]\nfeed_share = 0.7") == [
        "FILE:1: exchange: feed_share, download_share and reserved_share must leave a part for orders"
    ]
