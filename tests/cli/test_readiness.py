"""What `start` says of a daemon whose parts are ready, and of one whose account cannot be opened."""

from __future__ import annotations

from typing import Any

import pytest

from levibot.cli.readiness import AccountRefusedError, NotReadyError, outcome, wait_until_ready
from levibot.cli.target import Target

ENGINE = {
    "symbol": "BTC/USDT",
    "status": "starting",
    "ready": False,
    "market": "",
    "next_attempt_at": None,
    "waiting_for": "broker",
    "detail": "",
    "last_error": "",
}


def document(broker_waits_for: str = "", model_trouble: str = "", **engine: Any) -> dict[str, Any]:
    return {
        "daemon": {"pid": 1, "model_trouble": model_trouble},
        "engines": [{**ENGINE, **engine}],
        "workers": [
            {"worker": "feed", "waiting_for": ""},
            {"worker": "broker", "waiting_for": broker_waits_for},
        ],
    }


def start(monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], timeout: float) -> dict[str, Any]:
    monkeypatch.setattr("levibot.cli.readiness._ask", lambda _target: told)
    return wait_until_ready(Target(), lambda daemon: daemon["pid"] == 1, lambda: None, timeout)


def test_a_refused_account_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccountRefusedError, match=r"^the account is not traded: mexc does not accept key 12$"):
        start(monkeypatch, document("account refused: mexc does not accept key 12"), timeout=3600)


def test_what_may_pass_is_waited_for_and_named_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotReadyError) as raised:
        start(monkeypatch, document("account: key 12 is traded by process 9421"), timeout=0.05)
    assert "BTC/USDT: starting; waits for broker" in str(raised.value)
    assert "the broker's account: key 12 is traded by process 9421; the daemon tries again" in str(raised.value)
    assert "`levibotctl logs broker`" in str(raised.value)


def test_readiness_does_not_hide_that_no_model_answers() -> None:
    assert outcome(document(status="running", ready=True, waiting_for=""), 1.0) == (
        "all engines are ready after 1.00 s"
    )
    said = outcome(document(model_trouble="no inference process is ready", ready=True), 1.0)
    assert said.endswith(
        "ready after 1.00 s, but strategies that ask a model get no answer yet: no inference process is ready"
    )
