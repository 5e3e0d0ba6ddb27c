"""What a strategy is: bars (and, if it likes, ticks, trades and order books) in, a signal out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import msgspec

from levibot.bus.messages import AltData, Bar, Book, Component, Position, Prediction, Tick, Trades
from levibot.errors import StrategyError

Direction = Literal["long", "short", "flat"]
_BYTES = 8  # of one feature
_DIRECTIONS: dict[str, Direction] = {name: name for name in get_args(Direction)}


class Signal(msgspec.Struct, frozen=True, gc=False):
    """The exposure that a strategy wants from now on.

    Parameters
    ----------
    direction
        ``"long"``, ``"short"`` (flat on a market that cannot be sold short) or ``"flat"``.
    probability
        Of the event that the strategy bets on, 0..1; None if the strategy does not estimate one.
    confidence
        0..1; risk may make the position smaller by it.
    reason
        A few words for the log.
    stop_loss, take_profit, trailing_stop
        Distances of the protection from the entry price, as fractions, 0 < stop_loss < 1,
        0 < take_profit < 10 and 0 < trailing_stop < 1; None: those of the configuration.
    """

    direction: Direction
    probability: float | None = None
    confidence: float = 1.0
    reason: str = ""
    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None


class Question(msgspec.Struct, frozen=True, gc=False):
    """What a strategy would like to know of models before it answers a bar.

    Parameters
    ----------
    feature_set
        Identity of the features, as of `levibot.ml.features.FEATURE_SET`.
    features
        Numbers in the order of the feature set; NaN: missing.
    sequence
        The same of the newest bars, oldest first and that of the bar itself last, for a model of sequences:
        float64, little-endian, one bar after the other. Empty: no such model is asked.
    """

    feature_set: str
    features: tuple[float, ...]
    sequence: bytes = b""

    @property
    def steps(self) -> int:
        """Bars in the sequence."""
        return len(self.sequence) // (_BYTES * len(self.features))


class Strategy(Protocol):
    """Decides what exposure one symbol should have; it never orders anything.

    One object serves one symbol in one process. It sees events only: no clock, no sockets, so that live
    trading, a recording and a backtest give the same signals. What it learned is not stored: after a
    restart it is warmed up again from history.

    A position is opened only in answer to a signal. So return the signal on every bar for as long as it
    holds: an entry that was refused is then asked for again at the next bar. None means no opinion:
    nothing is opened, and what is open stays.
    """

    @property
    def warm_up_bars(self) -> int:
        """Closed bars without a hole that must have been seen before a signal means anything."""
        ...

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Learn from closed bars, oldest first, on which nothing can be done any more."""
        ...

    def on_bar(self, bar: Bar, position: Position) -> Signal | Question | None:
        """Answer to a bar that has just closed; a `Question` only of a `ModelStrategy`."""
        ...


@runtime_checkable
class TickStrategy(Protocol):
    """A strategy with this method is asked at ticks too: at the latest one, when several came at once."""

    def on_tick(self, tick: Tick, position: Position) -> Signal | Question | None:
        """Answer to a tick; a `Question` only of a `ModelStrategy`."""
        ...


@runtime_checkable
class TradeStrategy(Protocol):
    """A strategy with this method is given every public trade of its market, each once and in order.

    What the bus loses is counted as dropped, never given later. Trades that the feed read after a gap are
    `backfilled`: they complete what the strategy knows, but come too late to decide on, so the answer to
    them does not count.
    """

    def on_trades(self, trades: Trades, position: Position) -> Signal | Question | None:
        """Answer to trades; a `Question` only of a `ModelStrategy`."""
        ...


@runtime_checkable
class BookStrategy(Protocol):
    """A strategy with this method is given the order book: the latest one, when several came at once."""

    def on_book(self, book: Book, position: Position) -> Signal | Question | None:
        """Answer to an order book, best prices first; a `Question` only of a `ModelStrategy`."""
        ...


@runtime_checkable
class CorrectionStrategy(Protocol):
    """A strategy with this method is told when the exchange's own bar differs from one that it has seen.

    Bars are made of trades as they come, so that they are there at once; the exchange's count. A strategy
    that keeps bars puts this one in the place of that of the same minute. It answers nothing: what follows
    from the right bar shows in its answer to the next.
    """

    def on_correction(self, bar: Bar) -> None:
        """Take the right bar of a minute that may be among those seen."""
        ...


class Opinion(msgspec.Struct, frozen=True):
    """What a strategy thinks of the newest bar that it judged, and why.

    A strategy with an attribute `opinion` of this kind is asked for it after each `on_predictions`, so that people
    can see what its probability is made of, also where no signal comes of it.

    Parameters
    ----------
    probability
        Of a rise; None: it has none.
    components
        What that is made of, by name; those too that say nothing that counts.
    """

    probability: float | None = None
    components: dict[str, Component] = {}


@runtime_checkable
class ContextStrategy(Protocol):
    """A strategy with this method is given the closed bars of the context symbol, `[feed] context`.

    They come in the order of publication, history first; that of a minute is there before the own bar of the
    next. After a loss they may come again, and the exchange's own bar in the place of one that was made here:
    the newest of a minute counts. There may be none at all.
    """

    def on_context(self, bar: Bar) -> None:
        """Take a bar of the context symbol."""
        ...


@runtime_checkable
class AltDataStrategy(Protocol):
    """A strategy with this method is given alternative data of its base asset, and of the market as a whole.

    The latest value of an asset and name counts, until it expires.
    """

    def on_altdata(self, data: AltData) -> None:
        """Take a value."""
        ...


@runtime_checkable
class EntryStrategy(Protocol):
    """A strategy with this method is told when its position was entered: at each fill of an entry.

    After a restart of the engine the ledger tells the newest again, before the strategy is asked anything; and now
    and then while the position is open. So what is counted from there outlives its process.
    """

    def on_entry(self, filled_ms: int) -> None:
        """Take the market time of the newest fill of an entry, Unix ms."""
        ...


@runtime_checkable
class ModelStrategy(Protocol):
    """A strategy with this method may answer whatever it is given with a `Question` instead of a signal.

    It is then asked again, with what each kind of model answered in time: a kind that has not is missing,
    and there may be none at all. Of several questions only the newest counts, and none once the next bar has
    closed: no answer to it comes then.
    """

    def on_predictions(self, predictions: tuple[Prediction, ...], position: Position) -> Signal | None:
        """Answer to the bar of the newest question; of each kind of model there is one prediction at most."""
        ...


def check_answer(answer: Any, *, may_ask: bool) -> Signal | Question | None:
    """Return the answer of a strategy if it is a signal, a question or None.

    Parameters
    ----------
    answer
        What the strategy returned.
    may_ask
        Whether a question is allowed.

    Raises
    ------
    StrategyError
        If it is anything else, or has a value out of range.
    """
    if not isinstance(answer, Question):
        return check_signal(answer)
    if not may_ask:
        raise StrategyError("returned a Question; only a strategy with on_predictions gets it answered")
    if not isinstance(answer.feature_set, str) or not answer.feature_set:
        raise StrategyError(f"feature_set is {answer.feature_set!r:.80}; use levibot.ml.features.FEATURE_SET")
    if not isinstance(answer.features, tuple | list) or not answer.features:
        raise StrategyError(f"features is a {type(answer.features).__name__}; use a tuple of numbers")
    features = answer.features
    if not _are_sound(features):  # by one: to find what is wrong, or to make plain numbers of those that are not
        features = tuple(_feature(index, value) for index, value in enumerate(features))
    if not isinstance(answer.sequence, bytes) or len(answer.sequence) % (_BYTES * len(features)):
        raise StrategyError(
            f"sequence is no bytes of {len(features)} float64 a bar; use bytes() of an array, or b''"
        )
    return Question(str.__str__(answer.feature_set), features, bytes(answer.sequence))


def check_opinion(told: Any) -> Opinion:
    """Return what a strategy thinks; None, of a strategy that does not tell, is an empty opinion.

    Raises
    ------
    StrategyError
        If it is anything else, or has a value out of range.
    """
    if told is None:
        return Opinion()
    if not isinstance(told, Opinion):
        raise StrategyError(f"opinion is a {type(told).__name__}; use levibot.strategies.base.Opinion")
    try:
        opinion = msgspec.convert(msgspec.to_builtins(told), Opinion)
    except (msgspec.ValidationError, TypeError) as error:
        raise StrategyError(f"opinion: {error}") from error
    for probability in (opinion.probability, *(one.probability for one in opinion.components.values())):
        if probability is not None and not 0 <= probability <= 1:
            raise StrategyError(f"opinion: probability is {probability}; use a number from 0 to 1")
    return opinion


def check_signal(answer: Any) -> Signal | None:
    """Return the answer of a strategy if it is a signal or None.

    Its values come back as plain numbers and text: those of NumPy, and members of an Enum, are as good, but
    cannot be sent.

    Raises
    ------
    StrategyError
        If it is anything else, or a signal with a value out of range.
    """
    if answer is None:
        return None
    if not isinstance(answer, Signal):
        raise StrategyError(f"returned a {type(answer).__name__}; return a Signal or None")
    if not isinstance(answer.direction, str) or answer.direction not in _DIRECTIONS:
        raise StrategyError(f"direction is {answer.direction!r:.80}; use 'long', 'short' or 'flat'")
    if not isinstance(answer.reason, str):
        raise StrategyError(f"reason is a {type(answer.reason).__name__}; use text")
    return Signal(
        _DIRECTIONS[answer.direction],
        None if answer.probability is None else _fraction("probability", answer.probability),
        _fraction("confidence", answer.confidence),
        str.__str__(answer.reason),
        _distance("stop_loss", answer.stop_loss, 1),
        _distance("take_profit", answer.take_profit, 10),
        _distance("trailing_stop", answer.trailing_stop, 1),
    )


def _fraction(name: str, value: Any) -> float:
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise StrategyError(f"{name} is {value}; use a number from 0 to 1")
    return number


def _distance(name: str, value: Any, end: int) -> float | None:
    if value is None:
        return None
    number = _number(name, value)
    if not 0 < number < end:
        raise StrategyError(f"{name} is {value}; use a fraction of the price above 0 and below {end}, or None")
    return number


def _number(name: str, value: Any) -> float:
    number = _real(name, value)
    if not math.isfinite(number):
        raise StrategyError(f"{name} is {value}; use a finite number")
    return number


def _are_sound(values: Any) -> bool:
    """Whether these are plain numbers as they should be: looked at all at once, since a question is urgent."""
    return (
        type(values) is tuple
        and set(map(type, values)) == {float}
        and math.inf not in values
        and -math.inf not in values
    )


def _feature(index: int, value: Any) -> float:
    number = _real(f"feature {index}", value)
    if math.isinf(number):
        raise StrategyError(f"feature {index} is {value}; use a finite number, or NaN where it is missing")
    return number


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StrategyError(f"{name} is a {type(value).__name__}; use a number")
    return float(value)
