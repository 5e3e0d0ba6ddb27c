"""A recording leads to the commands that were issued, and says what is wrong with it if it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.bus.codec import write_record
from levibot.config import EngineConfig
from levibot.engine import inputs
from levibot.engine.core import DecisionCore
from levibot.engine.recording import Header, Recorder, RecordingError, recorded_commands, replay
from levibot.errors import MalformedMessageError
from levibot.execution.position import flat
from levibot.strategies.loader import load_strategy
from tests.engine.scene import SECOND, SYMBOL, make_bar, market_spec
from tests.full_disk import full_disk

CONFIG = EngineConfig(strategy="sma_cross", strategy_options={"fast": 2, "slow": 3})
CLOSES = [100, 101, 102, 99, 95, 94, 99, 104, 109, 104, 97, 90]


def record(path: Path) -> int:
    """Record a short life; return the number of commands."""
    with path.open("wb") as stream:
        recorder = Recorder(stream, Header(SYMBOL, CONFIG, 7, False))
        issued = 0

        def new_client_id(role: str) -> str:
            recorder.client_id(f"id-{issued}-{role}")
            return f"id-{issued}-{role}"

        strategy = load_strategy(CONFIG.strategy, CONFIG.strategy_options)
        core = DecisionCore(SYMBOL, CONFIG, strategy, new_client_id, first_request_id=7)
        items: list[inputs.Input] = [
            inputs.HistoryLoaded(SECOND, market_spec(), [make_bar(number) for number in range(1, 10)]),
            inputs.PositionReconciled(SECOND, flat(SYMBOL), []),
        ]
        for number, close in enumerate(CLOSES):
            items.append(inputs.BarClosed((number + 2) * SECOND, make_bar(number + 10, float(close))))
        for item in items:
            recorder.input(item)
            commands = core.handle(item)
            recorder.commands(commands)
            issued += len(commands)
        recorder.flush()
        assert not recorder.problem
    return issued


def test_replay_gives_the_commands_that_were_issued(tmp_path: Path) -> None:
    issued = record(tmp_path / "recording")
    assert issued > 3
    assert len(replay(tmp_path / "recording")) == issued
    assert replay(tmp_path / "recording") == recorded_commands(tmp_path / "recording")


def test_every_beginning_of_a_recording_replays(tmp_path: Path) -> None:
    record(tmp_path / "recording")
    whole = (tmp_path / "recording").read_bytes()
    commands = recorded_commands(tmp_path / "recording")
    for length in range(len(whole), len(whole) * 3 // 4, -7):
        (tmp_path / "cut").write_bytes(whole[:length])
        try:
            replayed = replay(tmp_path / "cut")
        except RecordingError:  # cut between an input and the client id that it asked for
            continue
        assert replayed == commands[: len(replayed)]


@pytest.mark.parametrize("content", [b"", b"\x93\x01\x02\x03", b"no recording"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises((RecordingError, MalformedMessageError)):
        replay(tmp_path / "file")


def test_another_format_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        write_record(stream, {"format": 99})
    with pytest.raises(RecordingError, match="another version"):
        replay(tmp_path / "file")


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    stream = (tmp_path / "recording").open("wb")
    recorder = Recorder(stream, Header(SYMBOL, CONFIG, 1, False))
    with full_disk():
        recorder.input(inputs.TimerFired(1))
        recorder.flush()
    assert recorder.problem
    recorder.input(inputs.TimerFired(2))
    recorder.close()
