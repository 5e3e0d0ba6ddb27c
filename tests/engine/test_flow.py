"""Public trades and order books: given to a strategy that wants them, and acted on like ticks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from levibot.bus.codec import write_record
from levibot.bus.messages import BarCorrected, Book, Position, SpecChanged, Trade, Trades
from levibot.engine import inputs
from levibot.engine.commands import Note
from levibot.engine.recording import Header, Recorder, replay
from levibot.strategies.base import Question, Signal
from tests.engine.scene import SYMBOL, Scene, Scripted, ScriptedModel, make_bar, market_spec
from tests.engine.test_recording import CONFIG


class Flowing(ScriptedModel):
    """Answers trades and books with what the test has put into `answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.trades: list[str] = []
        self.books: list[int] = []

    def on_trades(self, trades: Trades, position: Position) -> Signal | Question | None:
        self.trades += [trade.trade_id for trade in trades.trades]
        return self._say()  # type: ignore[no-any-return]

    def on_book(self, book: Book, position: Position) -> Signal | Question | None:
        self.books.append(book.seq)
        return self._say()  # type: ignore[no-any-return]


def trades(scene: Scene, number: int, *, backfilled: bool = False) -> None:
    made = [Trade(f"{number}-{part}", scene.now_ns // 1_000_000, "buy", 100.0, 1.0) for part in "ab"]
    message = Trades(SYMBOL, 1, number, made[-1].event_ms, scene.now_ns, made, backfilled)
    scene.give(inputs.TradesReceived(scene.now_ns, message))


def book(scene: Scene, number: int) -> None:
    message = Book(SYMBOL, 1, number, 0, scene.now_ns, [(99.99, 1.0)], [(100.01, 1.0)])
    scene.give(inputs.BookReceived(scene.now_ns, message))


@pytest.mark.parametrize("give", [trades, book])
def test_an_answer_opens_and_closes_like_one_to_a_tick(give: type) -> None:
    scene = Scene(strategy := Flowing())
    strategy.answer = Signal("long")
    give(scene, 1)
    scene.grant()
    scene.submitted(scene.intents[-1])
    scene.fill(scene.intents[-1])
    strategy.answer = Signal("flat")
    give(scene, 2)
    assert [intent.role for intent in scene.intents] == ["entry", "exit"]


def test_all_of_it_reaches_the_strategy_once_it_can_act() -> None:
    scene = Scene(strategy := Flowing(), ready=False)
    trades(scene, 1)
    book(scene, 1)
    scene.load()
    trades(scene, 2)
    assert strategy.trades == []
    scene.reconcile()
    trades(scene, 3)
    trades(scene, 4)
    book(scene, 7)
    assert strategy.trades == ["3-a", "3-b", "4-a", "4-b"]
    assert strategy.books == [7]


def test_trades_that_were_read_later_are_known_but_not_acted_on() -> None:
    scene = Scene(strategy := Flowing())
    strategy.answer = Signal("long")
    trades(scene, 1, backfilled=True)
    assert strategy.trades == ["1-a", "1-b"]
    assert not scene.requests
    trades(scene, 2)
    assert scene.requests


def test_a_model_may_be_asked_about_them() -> None:
    scene = Scene(strategy := Flowing())
    strategy.answer = Question("set", (1.0,))
    trades(scene, 1)
    scene.predict(Signal("long"))
    assert scene.requests


def test_whoever_does_not_want_them_is_not_asked() -> None:
    scene = Scene(Scripted())
    scene.commands.clear()
    trades(scene, 1)
    book(scene, 1)
    assert not scene.commands


def test_a_recording_with_all_kinds_of_input_replays(tmp_path: Path) -> None:
    scene = Scene(Flowing(), ready=False)
    items: list[inputs.Input] = []
    give = scene.core.handle
    scene.core.handle = lambda item: [items.append(item), give(item)][1]  # type: ignore[assignment]
    scene.load()
    scene.reconcile()
    trades(scene, 1)
    book(scene, 1)
    halted = msgspec.structs.replace(scene.spec, active=False)
    scene.give(inputs.MarketChanged(scene.now_ns, SpecChanged(SYMBOL, 1, 1, 0, halted)))
    corrected = BarCorrected(SYMBOL, 1, 2, 0, 600_000, 1.0, 1.0, 1.0, 1.0, 1.0)
    scene.give(inputs.MarketChanged(scene.now_ns, corrected))
    with (tmp_path / "recording").open("wb") as stream:
        recorder = Recorder(stream, Header(SYMBOL, CONFIG, 7, False))
        for item in items:
            recorder.input(item)
        recorder.flush()
    notes = replay(tmp_path / "recording")
    assert [note.fields["what"] for note in notes if isinstance(note, Note)] == ["SpecChanged", "BarCorrected"]


def test_a_recording_from_before_a_snapshot_told_whether_the_market_is_stale_replays(tmp_path: Path) -> None:
    spec = msgspec.to_builtins(market_spec())
    bars = [msgspec.to_builtins(make_bar(number)) for number in range(1, 5)]
    with (tmp_path / "recording").open("wb") as stream:
        Recorder(stream, Header(SYMBOL, CONFIG, 7, False))
        write_record(stream, ["input", ["HistoryLoaded", 1, spec, bars, None]])
        write_record(stream, ["input", ["MarketChanged", 2, ["MarketConnected", SYMBOL, 1, 5, 0, False]]])
    assert len(replay(tmp_path / "recording")) == 1
