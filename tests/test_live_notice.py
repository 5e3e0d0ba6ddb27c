"""What a configuration for real money must hold, and what a person is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from levibot.config import Config
from levibot.config_execution import CONFIRMATION
from levibot.config_file import load
from levibot.errors import ConfigError
from levibot.live_notice import live_notice, nothing_can_be_opened

GOOD: dict[str, Any] = {
    "mode": "live",
    "symbols": ["BTC/USDT", "ETH/USDT"],
    "feed": {"source": "ccxt"},
    "exchange": {"id": "binance"},
    "live": {"confirm": CONFIRMATION, "capital": "750"},
}


def test_real_money_is_named_with_its_limits() -> None:
    config = Config.model_validate(GOOD)
    notice = live_notice(config)
    assert "REAL MONEY on binance" in notice
    assert "the environment" in notice
    for text in ("BTC/USDT, ETH/USDT", "at most 750 USDT", "20.0% of equity at most, 5 at", "loss of 3.0%"):
        assert text in notice
    assert "REAL MONEY" in config.disclosure
    assert config.state_dir.name == "live-binance-default"


def test_that_nothing_will_be_opened_is_said_before_it_starts() -> None:
    on_mexc = {**GOOD, "exchange": {"id": "mexc"}}
    said = "mexc keeps no stops: none of the symbols will be entered"
    assert f"NOTHING WILL BE OPENED: {said}" in live_notice(Config.model_validate(on_mexc))
    emulated = {**on_mexc, "live": {**GOOD["live"], "allow_emulated_stops": True}}
    for possible in (GOOD, emulated, {"exchange": {"id": "mexc"}, "feed": {"source": "ccxt"}}):
        assert nothing_can_be_opened(Config.model_validate(possible)) == ""


def test_what_does_not_go_with_real_money_is_named_with_its_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.toml"
    head = 'mode = "live"\nsymbols = ["BTC/USDT"]\nfeed.source = "ccxt"\n'
    needs = f'live.confirm: mode = "live" needs [live] confirm = "{CONFIRMATION}"'

    def refusal(text: str, **environ: str) -> str:
        path.write_text(text)
        with pytest.raises(ConfigError) as raised:
            load(path, environ)
        return str(raised.value)

    assert refusal(f'{head}[live]\nconfirm = "yes"\n') == f"{path}:5: {needs}"
    assert refusal(f'{head}[live]\ncapital = "5"\n') == f"{path}:4: {needs}"
    assert refusal(head) == f"{path}:1: {needs}"
    assert refusal('feed.source = "ccxt"\n', LEVIBOT_MODE="live") == f"LEVIBOT_MODE: {needs}"
    assert "Value error" not in refusal(head)


def test_of_paper_money_nothing_is_said() -> None:
    assert live_notice(Config()) == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"live": {}}, f'needs [live] confirm = "{CONFIRMATION}"'),
        ({"live": {"confirm": CONFIRMATION.upper()}}, "confirm"),
        ({"feed": {"source": "simulated"}}, 'needs [feed] source = "ccxt"'),
        ({"symbols": ["BTC/USDT:USDT"]}, "live trading is for spot markets"),
        ({"symbols": ["BTC/USDT", "ETH/BTC"]}, "one account is kept in one quote asset"),
        ({"live": {"confirm": CONFIRMATION, "credentials": "file"}}, "needs credentials_file"),
        ({"live": {"confirm": CONFIRMATION, "api_key": "abc"}}, "api_key"),
    ],
)
def test_what_is_not_surely_meant_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    lines: list[str] = []
    for key, value in {**GOOD, **change}.items():
        if isinstance(value, dict):
            lines += [f'{key}.{inner} = "{text}"' for inner, text in value.items()]
        else:
            lines.append(f"{key} = {value!r}".replace("'", '"'))
    path = tmp_path / "supervisor.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert named in str(raised.value)
    assert str(path) in str(raised.value)
