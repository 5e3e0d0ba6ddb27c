"""The strategy as the decision core asks it: what it says is checked, what it raises is noted."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

from levibot.bus.messages import AltData, Bar, Book, Position, Prediction, Tick, Trades
from levibot.engine.commands import AskModel
from levibot.strategies.base import (
    AltDataStrategy,
    BookStrategy,
    ContextStrategy,
    CorrectionStrategy,
    EntryStrategy,
    ModelStrategy,
    Opinion,
    Question,
    Signal,
    Strategy,
    TickStrategy,
    TradeStrategy,
    check_answer,
    check_opinion,
    check_signal,
)

_ANSWER_DEADLINE_NS = 25_000_000_000  # whoever asks the model has one of its own; this only ends a silence


class Adviser:
    """A strategy, and the question of it that a model has yet to answer.

    It has one open question at most: a newer one replaces it, and the next bar ends it. Whatever the
    strategy raises, and whatever nonsense it returns, is noted as an error and means no opinion.

    Parameters
    ----------
    strategy
        That is asked.
    note
        Takes level, event and fields of a line for the log.
    """

    def __init__(self, strategy: Strategy, note: Callable[..., None]) -> None:
        self.hears_ticks = isinstance(strategy, TickStrategy)
        self.hears_trades = isinstance(strategy, TradeStrategy)
        self.hears_books = isinstance(strategy, BookStrategy)
        self._hears_corrections = isinstance(strategy, CorrectionStrategy)
        self._hears_context = isinstance(strategy, ContextStrategy)
        self._hears_altdata = isinstance(strategy, AltDataStrategy)
        self._hears_entries = isinstance(strategy, EntryStrategy)
        self.opinion = Opinion()  # of the newest bar that the strategy judged by what models said
        self.judged_ms = 0  # opening time of that bar
        self._strategy: Any = strategy
        self._may_ask = isinstance(strategy, ModelStrategy)
        self._note = note
        self._asked: AskModel | None = None
        self._next_request_id = 1
        self._deadline_ns = 0

    @property
    def deadline_ns(self) -> int | None:
        """When the open question is given up; None without one."""
        return self._deadline_ns if self._asked is not None else None

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Let the strategy learn from bars on which nothing can be done any more."""
        if bars:
            self._asked = None
            self._call(self._strategy.warm_up, bars)

    def on_bar(self, bar: Bar, position: Position) -> Signal | Question | None:
        """What the strategy answers to a bar."""
        self._asked = None
        return self._answer(self._strategy.on_bar, bar, position)

    def on_tick(self, tick: Tick, position: Position) -> Signal | Question | None:
        """What the strategy answers to a tick."""
        return self._answer(self._strategy.on_tick, tick, position)

    def on_trades(self, trades: Trades, position: Position) -> Signal | Question | None:
        """What the strategy answers to public trades."""
        return self._answer(self._strategy.on_trades, trades, position)

    def on_book(self, book: Book, position: Position) -> Signal | Question | None:
        """What the strategy answers to an order book."""
        return self._answer(self._strategy.on_book, book, position)

    def correct(self, bar: Bar) -> None:
        """Tell a strategy that wants to know it which bar counts; an open question stays open."""
        if self._hears_corrections:
            self._call(self._strategy.on_correction, bar)

    def on_context(self, bar: Bar) -> None:
        """Give a bar of the context symbol to a strategy that wants it."""
        if self._hears_context:
            self._call(self._strategy.on_context, bar)

    def on_altdata(self, data: AltData) -> None:
        """Give a value of alternative data to a strategy that wants it."""
        if self._hears_altdata:
            self._call(self._strategy.on_altdata, data)

    def on_entry(self, filled_ms: int) -> None:
        """Tell a strategy that wants to know it when its position was entered."""
        if self._hears_entries:
            self._call(self._strategy.on_entry, filled_ms)

    def ask(self, question: Question, bar_ms: int, now_ns: int) -> AskModel:
        """Open a question about the newest bar."""
        self._asked = AskModel(self._next_request_id, bar_ms, question)
        self._next_request_id += 1
        self._deadline_ns = now_ns + _ANSWER_DEADLINE_NS
        return self._asked

    def awaits(self, request_id: int) -> bool:
        """Whether `request_id` is the open question."""
        return self._asked is not None and self._asked.request_id == request_id

    def on_predictions(self, predictions: tuple[Prediction, ...], position: Position) -> Signal | None:
        """What the strategy makes of the answers to the open question, of which there may be none."""
        if self._asked is not None:
            self.judged_ms = self._asked.bar_ms
        self._asked = None
        signal = self._call(lambda: check_signal(self._strategy.on_predictions(predictions, position)))
        self.opinion = self._call(lambda: check_opinion(getattr(self._strategy, "opinion", None))) or Opinion()
        return signal  # type: ignore[no-any-return]

    def _answer(self, method: Callable[..., Any], *arguments: Any) -> Signal | Question | None:
        return self._call(lambda: check_answer(method(*arguments), may_ask=self._may_ask))  # type: ignore[no-any-return]

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:  # noqa: BLE001 - a strategy may raise anything; it is counted and shown
            text = "".join(traceback.format_exception(error))[-4000:]
            words = f"{type(error).__name__}: {error}"[:400]
            self._note("error", "strategy_failed", error=words, traceback=text)
            return None
