"""A real daemon with the default strategy: it trains, asks, trades, and goes on whatever the pool does."""

from __future__ import annotations

import math
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from levibot.api.client import ApiClient
from levibot.bus.messages import OrderFilled, OrderSubmitted
from levibot.engine.commands import AskModel
from levibot.engine.recording import replay
from levibot.ml.features import FEATURES
from levibot.ml.manifest import read_manifest
from levibot.ml.store import ModelStore
from levibot.strategies.base import Question
from tests.daemon.audit import broker_events
from tests.daemon.conftest import MakeDaemon
from tests.daemon.harness import DaemonUnderTest, alive
from tests.ml.examples import stored_model
from tests.programs import LEVIBOTCTL

NAME = "lightgbm-simulated"
START_MS = 1_735_689_600_000  # of the simulated market
SETTINGS: dict[str, Any] = {
    "engine.strategy": "ensemble",
    "inference.processes": 2,
    "inference.deadline": 1.0,  # so that a slow machine is no missing answer
    "policy.inference.heartbeat_interval": 0.1,
    "policy.inference.restart_delays": [0.0, 0.05],
    "policy.inference.restart_alert": 1000,
    "feed.speed": 600.0,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model of the simulated market, trained as a user does it."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "supervisor.toml"
    config.write_text(f'[supervisor]\ndata_dir = "{folder}"\n', encoding="utf-8")
    subprocess.run([LEVIBOTCTL, "-c", config, "train"], capture_output=True, check=True)
    return folder / "models"


def predictions(daemon: DaemonUnderTest) -> int:
    return int(sum(engine["predictions"] or 0 for engine in daemon.status()["engines"]))


def known(question: Question) -> set[str]:
    """Features that are not missing."""
    return {name for name, value in zip(FEATURES, question.features, strict=True) if not math.isnan(value)}


def never_restarted(daemon: DaemonUnderTest) -> bool:
    return all(not engine["restarts"] and not engine["error_count"] for engine in daemon.status()["engines"])


def test_it_trades_on_a_first_model_of_its_own_and_outlives_every_pool_process(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(**SETTINGS, **{"engine.record_inputs": True})
    daemon.start()
    assert "training a first one" in daemon.output()
    daemon.wait(lambda: any(e["trade_count"] for e in daemon.status()["engines"]), "a trade", seconds=60)
    for name in ("inference-0", "inference-1", "inference-0"):
        pid = daemon.worker(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        before = predictions(daemon)
        daemon.wait(lambda n=before: predictions(daemon) > n + 10, "answers while one is gone", seconds=60)
        daemon.wait_replaced(name, pid)
    daemon.wait(lambda: sum(e["trade_count"] for e in daemon.status()["engines"]) > 3, "more trades", seconds=60)
    assert never_restarted(daemon)
    engine = daemon.engine()
    assert engine["model"].startswith("lightgbm-simulated/")
    assert 0 <= engine["prob_up"] <= 1
    parts = engine["components"]
    assert (parts["lightgbm"]["probability"], parts["lightgbm"]["source"]) == (engine["prob_up"], engine["model"])
    assert "tft_processes is 0" in parts["tft"]["trouble"]
    assert daemon.stop() == 0
    orders = [event for event in broker_events(daemon.state) if isinstance(event, OrderSubmitted)]
    assert len(orders) == len({event.client_id for event in orders}) > 3
    trained = ModelStore(daemon.data / "models").current(NAME)
    assert trained is not None
    needed = set(read_manifest(trained).features)
    assert "context_return_5" in needed
    for recording in (daemon.state / "recordings").glob("engine-*.msgpack"):
        asked = [command.question for command in replay(recording) if isinstance(command, AskModel)]
        assert len(asked) > 10
        assert all(needed <= known(question) for question in asked), (
            "all that it was trained on is there from the first question on"
        )


def test_without_a_model_of_use_it_says_so_until_there_is_one(make_daemon: MakeDaemon, models: Path) -> None:
    daemon = make_daemon(**SETTINGS)
    stored_model(daemon.data / "models", exchange="elsewhere")
    daemon.start()
    daemon.wait(lambda: "elsewhere" in (daemon.engine()["no_model"] or ""), "the reason", seconds=60)
    said = subprocess.run(
        [LEVIBOTCTL, "-c", daemon.config, "status"], capture_output=True, text=True, check=True
    ).stdout
    assert "no signal for BTC/USDT" in said
    missed = daemon.engine()["predictions_missed"]
    daemon.wait(
        lambda: daemon.engine()["predictions_missed"] > missed + 12, "more than an error spike", seconds=60
    )
    assert never_restarted(daemon)
    assert predictions(daemon) == 0
    trained = ModelStore(models).current(NAME)
    assert trained is not None
    store = ModelStore(daemon.data / "models")
    manifest = read_manifest(trained)
    stored = store.save(manifest, {file.name: (trained / file.name).read_bytes() for file in manifest.files})
    store.promote(NAME, stored.version)
    daemon.wait(lambda: daemon.engine()["prob_up"] is not None, "a probability", seconds=60)
    assert daemon.engine()["no_model"] == ""
    assert never_restarted(daemon)
    for event in ("no_answer_of_a_model", "model_answers_again"):
        assert len(daemon.events(event, "engine-BTC-USDT")) == 1, event


def test_a_pool_that_is_gone_for_a_while_costs_signals_and_nothing_else(
    make_daemon: MakeDaemon, models: Path
) -> None:
    daemon = make_daemon(**SETTINGS, **{"inference.models_dir": str(models)})
    daemon.start()
    daemon.wait(lambda: predictions(daemon) > 10, "answers", seconds=60)
    pids = [daemon.worker(name)["pid"] for name in ("inference-0", "inference-1")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # connected, and deaf
    daemon.wait(lambda: "no answer" in (daemon.engine()["no_model"] or ""), "missing answers", seconds=60)
    assert all(engine["ready"] for engine in daemon.status()["engines"])
    for pid in filter(alive, pids):
        os.kill(pid, signal.SIGCONT)
    daemon.wait(lambda: daemon.engine()["no_model"] == "", "answers again", seconds=60)
    assert never_restarted(daemon)


@pytest.mark.parametrize("hours", [1, pytest.param(24, marks=[pytest.mark.long, pytest.mark.timeout(400)])])
@pytest.mark.long
def test_two_lockstep_replays_give_the_same_orders(
    make_daemon: MakeDaemon, models: Path, tmp_path: Path, hours: int
) -> None:
    until_ms = START_MS + hours * 3_600_000
    runs = []
    for name in ("first", "second"):
        folder = tmp_path / name
        daemon = make_daemon(
            **SETTINGS,
            **{
                "feed.lockstep": True,
                "supervisor.data_dir": str(folder),
                "inference.models_dir": str(models),
                "symbols": ["BTC/USDT", "ETH/USDT", "SOL/USDT"],
            },
        )
        daemon.data, daemon.state = folder, folder / "paper-simulated-default"
        daemon.api = ApiClient(folder / "run" / "api.sock")
        daemon.start()
        daemon.wait(
            lambda d=daemon: (d.status()["daemon"]["market_ms"] or 0) > until_ms, "the end", seconds=60 * hours
        )
        assert all(engine["predictions_missed"] == 0 for engine in daemon.status()["engines"])
        assert daemon.stop() == 0
        runs.append(fills(daemon, until_ms))
    assert len(runs[0]) > 2 * hours
    assert runs[0] == runs[1]


def fills(daemon: DaemonUnderTest, until_ms: int) -> list[tuple[Any, ...]]:
    """Fills in the order in which they happened, without what is random: ids and wall time."""
    return [
        (event.event_ms, event.symbol, event.fill.quantity, event.fill.price, event.fill.fee)
        for event in broker_events(daemon.state)
        if isinstance(event, OrderFilled) and event.event_ms <= until_ms
    ]
