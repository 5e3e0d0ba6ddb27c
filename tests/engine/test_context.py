"""Bars of the context and alternative data: given to a strategy that wants them, recorded, and never acted on."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from levibot.bus.messages import AltData, Bar, BarCorrected, Position
from levibot.config import EngineConfig
from levibot.engine import inputs
from levibot.engine.commands import AskRisk
from levibot.engine.recording import Header, Recorder, recorded_commands, replay
from levibot.strategies.base import Question, Signal
from tests.engine.scene import SYMBOL, Scene, Scripted, make_bar

BTC_BAR = Bar("BTC/EUR", 1, 1, 60_000, 7.0, 9.0, 6.0, 8.0, 2.0, buy_volume=1.5, trades=3.0, spread=0.1)
FUNDING = AltData("BTC", "funding_rate", -0.01, "exchange", 1, 2, 3)
WORLDLY = "tests.engine.test_context:Worldly"


class Worldly(Scripted):
    """Long when the context rose and funding is negative; its reason tells what it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.context: dict[int, Bar] = {}
        self.altdata: dict[str, AltData] = {}

    def on_context(self, bar: Bar) -> None:
        if bar.close == 13:
            raise RuntimeError("unlucky price")
        self.context[bar.open_ms] = bar

    def on_altdata(self, data: AltData) -> None:
        self.altdata[data.name] = data

    def on_bar(self, bar: Bar, position: Position) -> Signal | Question | None:
        newest = self.context.get(bar.open_ms - 60_000)
        rose = newest is not None and newest.close > newest.open
        funding = self.altdata.get("funding_rate")
        wanted = "long" if rose and funding is not None and funding.value < 0 else "flat"
        return Signal(wanted, reason=f"{len(self.context)} {rose}")  # type: ignore[arg-type]


def context(scene: Scene, minute: int, close: float = 8.0) -> None:
    bar = msgspec.structs.replace(BTC_BAR, open_ms=minute * 60_000, close=close)
    scene.give(inputs.ContextBarClosed(scene.now_ns, bar))


def test_a_strategy_gets_both_and_judges_by_them() -> None:
    scene = Scene(strategy := Worldly())
    scene.bar()
    assert not scene.requests
    scene.give(inputs.AltDataReceived(scene.now_ns, FUNDING))
    context(scene, scene.bar_number)
    assert not scene.requests
    scene.bar()
    assert len(scene.requests) == 1
    assert strategy.altdata == {"funding_rate": FUNDING}


def test_they_are_given_before_history_is_there_and_again_when_a_bar_is_corrected() -> None:
    scene = Scene(strategy := Worldly(), ready=False)
    context(scene, 1)
    context(scene, 1, close=6.5)
    assert [bar.close for bar in strategy.context.values()] == [6.5]
    assert not scene.commands


def test_whoever_does_not_want_them_is_not_asked_and_a_failure_is_noted() -> None:
    plain = Scene(Scripted())
    plain.commands.clear()
    context(plain, 1)
    plain.give(inputs.AltDataReceived(plain.now_ns, FUNDING))
    assert not plain.commands
    worldly = Scene(Worldly())
    context(worldly, 1, close=13.0)
    (note,) = worldly.noted("strategy_failed")
    assert note.fields["error"] == "RuntimeError: unlucky price"


def test_a_recording_leads_to_the_same_commands_and_keeps_what_is_unknown_unknown(tmp_path: Path) -> None:
    config = EngineConfig(strategy=WORLDLY)
    scene = Scene(Worldly(), ready=False)
    give = scene.core.handle
    with (tmp_path / "recording").open("wb") as stream:
        recorder = Recorder(stream, Header(SYMBOL, config, 1, False))

        def handle(item: inputs.Input) -> list[object]:
            recorder.input(item)
            commands = give(item)
            for command in commands:
                if isinstance(command, AskRisk):
                    recorder.client_id(command.request.client_id)
            recorder.commands(commands)
            return list(commands)

        scene.core.handle = handle  # type: ignore[assignment, method-assign]
        scene.load()
        scene.reconcile()
        scene.give(inputs.AltDataReceived(scene.now_ns, FUNDING))
        context(scene, scene.bar_number)
        scene.bar()
        recorder.flush()
    commands = replay(tmp_path / "recording")
    assert commands == recorded_commands(tmp_path / "recording")
    assert any(isinstance(command, AskRisk) for command in commands)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_flow_of_a_bar_survives_a_recording_of_inputs(corrected: bool) -> None:
    bar = msgspec.structs.replace(make_bar(3), buy_volume=0.25, spread=1e-4)
    event = BarCorrected(SYMBOL, 1, 2, 0, 180_000, *[1.0] * 5, buy_volume=0.25, spread=1e-4)
    item: inputs.Input = inputs.MarketChanged(1, event) if corrected else inputs.BarClosed(1, bar)
    plain = msgspec.to_builtins(item, builtin_types=(bytes,))
    back = msgspec.convert(msgspec.msgpack.decode(msgspec.msgpack.encode(plain)), inputs.Input)
    found = back.event.bar if isinstance(back, inputs.MarketChanged) else back.bar
    assert (found.buy_volume, found.spread) == (0.25, 1e-4)
    assert math.isnan(found.trades)
    assert math.isnan(found.imbalance)
