"""Bets on the probability that models give of a rise, with the barriers that they were trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from levibot.bus.messages import AltData, Bar, Component, Position, Prediction
from levibot.market.bars import MINUTE_MS
from levibot.ml.features import FEATURE_SET, WINDOW, FeatureWindow
from levibot.strategies.base import Opinion, Question, Signal
from levibot.strategies.components import SENTIMENT, Sentiment, answer_of, beside, of_model
from levibot.strategies.probability import PRIMARY, WEIGHTS, Stakes, choose, combine, confidence, expected_gain

_SEQUENCE = 60  # bars that the Temporal Fusion Transformer looks at


class Ensemble:
    """Long where a rise is likely enough to pay, short where a fall is.

    A model's answer is about two distances: the price rises by one before it falls by the other. They are
    the barriers of the position that is opened on it. It ends

    * at one of them, which the broker watches;
    * when a bet on the other side has become worth opening, on a spot market too, where none is opened: to
      leave at the first doubt, and come back at the next hope, would cost more than it saves;
    * at the third barrier of the label, its horizon, if no answer since would have opened it anew. A restart
      forgets such answers, and counts from the fill of the entry.

    In between there is no opinion. Nor is there one without an answer of the primary model, LightGBM, by a model
    that is too old, or on features that the model has not seen the like of; what is open then keeps its barriers.

    The Temporal Fusion Transformer and the sentiment of headlines are heard where they are there, fresh, and of
    the same event: the probability is the weighted mean of those that are. One that is missing is missing, never
    a neutral number. Sentiment alone moves nothing: a bet must pass the thresholds without it as well, and is
    made with the less certain of the two probabilities.

    Parameters
    ----------
    long_from, short_to
        Least probability of a rise for a long, and greatest for a short.
    costs
        Of a round trip, as a fraction of the position. The default is that of the paper exchange: twice
        the taker's fee of .001, the spread of .0002, twice the slippage of .0001.
    least_gain
        Expected gain after costs that a bet must exceed, as a fraction of the position. Above 0, for the
        first moment at which a bet would pay at all is the worst at which to make it.
    max_out_of_range
        Features that may lie outside the range that the model was trained on.
    weight_lightgbm, weight_tft, weight_sentiment
        Of the components; 0 leaves one out, but never LightGBM.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        long_from: float = 0.55,
        short_to: float = 0.45,
        costs: float = 0.0024,
        least_gain: float = 0.002,
        max_out_of_range: int = 3,
        weight_lightgbm: float = WEIGHTS["lightgbm"],
        weight_tft: float = WEIGHTS["tft"],
        weight_sentiment: float = WEIGHTS["sentiment"],
    ) -> None:
        if not 0 <= short_to < long_from <= 1:
            raise ValueError(
                f"long_from = {long_from!r}, short_to = {short_to!r}: need 0 <= short_to < long_from <= 1"
            )
        for name, value in (("costs", costs), ("least_gain", least_gain)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} = {value!r}: need a fraction, 0 <= {name} < 1")
        if type(max_out_of_range) is not int or max_out_of_range < 0:
            raise ValueError(f"max_out_of_range = {max_out_of_range!r}: need a whole number, 0 or more")
        self.opinion = Opinion()
        self._weights = _checked(lightgbm=weight_lightgbm, tft=weight_tft, sentiment=weight_sentiment)
        self._long_from = long_from
        self._short_to = short_to
        self._costs = costs
        self._least_gain = least_gain
        self._max_out_of_range = max_out_of_range
        self._window = FeatureWindow(_SEQUENCE if weight_tft else 1)
        self._sentiment = Sentiment()
        self._asset = ""  # base asset of the market
        self._bar_ms = 0
        self._bet_ms: int | None = None  # bar of the newest answer that was worth a bet
        self._horizon_bars: int | None = None  # of the newest answer

    @property
    def warm_up_bars(self) -> int:
        """Bars that the features need.

        A sequence needs more, but nothing waits for that: after a hole the Transformer is missing for longer.
        """
        return WINDOW

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Learn from history."""
        for bar in bars:
            self._window.add(bar)

    def on_bar(self, bar: Bar, position: Position) -> Signal | Question | None:
        """Ask the model, if there are features to ask it about."""
        self._bar_ms = bar.open_ms
        self._asset = bar.symbol.partition("/")[0]
        if position.quantity and self._bet_ms is None:  # found open, and no entry is known that led to it
            self._bet_ms = bar.open_ms
        features = self._window.add(bar)
        if features is None:
            return self._end_of_horizon(position)
        return Question(FEATURE_SET, features, self._window.sequence if "tft" in self._weights else b"")

    def on_correction(self, bar: Bar) -> None:
        """Let the next features be those of the right bar; a question that is open is about the wrong one."""
        self._window.replace(bar)

    def on_context(self, bar: Bar) -> None:
        """Let features know what the leading market did."""
        self._window.add_context(bar)

    def on_altdata(self, data: AltData) -> None:
        """Let features know it, and keep what headlines say."""
        self._window.add_altdata(data)
        if data.asset:  # the mood of the whole market is a feature, but no component
            self._sentiment.add(data)

    def on_entry(self, filled_ms: int) -> None:
        """Count the horizon from the bar at whose close the position was entered, if that is not known better."""
        bar_ms = filled_ms - filled_ms % MINUTE_MS - MINUTE_MS
        self._bet_ms = bar_ms if self._bet_ms is None else max(self._bet_ms, bar_ms)

    def on_predictions(self, predictions: tuple[Prediction, ...], position: Position) -> Signal | None:
        """The bet on what the components say together, if it is worth one."""
        primary = answer_of(predictions, PRIMARY)
        self.opinion = self._form(predictions, primary)
        if primary is not None:
            self._horizon_bars = primary.horizon_bars
            signal = self._judge(primary)
            if signal is not None:
                return signal
        return self._end_of_horizon(position)

    def _form(self, predictions: tuple[Prediction, ...], primary: Prediction | None) -> Opinion:
        components = {}
        for name in self._weights:
            if name == SENTIMENT:
                components[name] = self._sentiment.at(self._asset, self._bar_ms)
                continue
            prediction = answer_of(predictions, name)
            component = of_model(prediction, self._max_out_of_range)
            components[name] = beside(component, prediction, primary)
        parts = _counting(components)
        return Opinion(combine(parts, self._weights) if PRIMARY in parts else None, components)

    def _judge(self, primary: Prediction) -> Signal | None:
        parts = _counting(self.opinion.components)
        bet = choose(parts, self._long_from, self._short_to, self._weights)
        if bet is None:
            return None
        chance = bet.probability
        stakes = Stakes(primary.take_profit, primary.stop_loss, primary.touched, primary.untouched_return)
        if bet.side == "short":
            chance, stakes = 1 - chance, stakes.of_fall
        gain = expected_gain(chance, stakes, self._costs)
        if gain <= self._least_gain:
            return None
        self._bet_ms = self._bar_ms
        said = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
        return Signal(
            bet.side,
            chance,
            confidence(bet.probability),
            f"{said}: expects {gain:+.2%} after costs",
            stop_loss=stakes.down,
            take_profit=stakes.up,
        )

    def _end_of_horizon(self, position: Position) -> Signal | None:
        if not position.quantity or self._bet_ms is None or self._horizon_bars is None:
            return None
        if self._bar_ms - self._bet_ms < self._horizon_bars * MINUTE_MS:
            return None
        return Signal("flat", reason=f"neither barrier reached in {self._horizon_bars} bars")


def _checked(**weights: float) -> dict[str, float]:
    """Those that are not switched off; ValueError if one is no weight."""
    for name, weight in weights.items():
        if isinstance(weight, bool) or not 0 <= weight < math.inf:
            raise ValueError(f"weight_{name} = {weight!r}: need a finite number, 0 or more")
    if not weights[PRIMARY]:
        raise ValueError(f"weight_{PRIMARY} = 0: nothing is ever opened without it; need a number above 0")
    return {name: weight for name, weight in weights.items() if weight}


def _counting(components: Mapping[str, Component]) -> dict[str, float]:
    """Probabilities of those that count."""
    known = ((name, component.probability) for name, component in components.items())
    return {name: probability for name, probability in known if probability is not None}
