"""What each component of the ensemble says of a bar, and why one says nothing that counts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import isclose

from levibot.bus.messages import AltData, Component, Prediction
from levibot.market.bars import MINUTE_MS

SENTIMENT = "sentiment"
NO_ANSWER = "no answer in time"
NONE_YET = "none yet"
_NEAR = 1e-6  # relative: two models reckon the same distances of a bar from the same volatility
_MOST_KEPT = 8  # values that came after the bar that is judged


class Sentiment:
    """The newest value of each asset that was known here when a bar opened, and had not expired when it closed.

    That is the rule of features too. A value that was fetched later would be a race with the close, and knowledge
    of the future in a replay; so the one before it is kept until then.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[AltData]] = {}  # by asset, in order of the time of their fetch

    def add(self, data: AltData) -> None:
        """Take a value; what is no sentiment changes nothing, and an old one again neither."""
        if data.name != SENTIMENT:
            return
        known = self._known.setdefault(data.asset, [])
        # In its place, not behind the newest: those of a time when the clock was ahead must not silence it.
        place = bisect_left(known, data.fetched_ms, key=lambda each: each.fetched_ms)
        if place < len(known) and known[place].fetched_ms == data.fetched_ms:
            known[place] = data
        else:
            known.insert(place, data)
            if len(known) > _MOST_KEPT:
                del known[0 if place else 1]

    def at(self, asset: str, bar_ms: int) -> Component:
        """What it says of the bar that opened at `bar_ms`: s in −1..1 is the probability (s + 1)/2."""
        known = self._known.get(asset, [])
        while len(known) > 1 and known[1].fetched_ms <= bar_ms:
            del known[0]
        if not known:
            return Component(trouble=NONE_YET)
        if known[0].fetched_ms > bar_ms:
            return Component(source=known[0].source, trouble="fetched after this bar opened")
        data, close_ms = known[0], bar_ms + MINUTE_MS
        if data.expires_ms <= close_ms:
            minutes = (close_ms - data.fetched_ms) // MINUTE_MS
            return Component(source=data.source, trouble=f"{minutes} min old")
        if not -1 <= data.value <= 1:
            return Component(source=data.source, trouble=f"is {data.value:g}, expected -1 to 1")
        return Component((data.value + 1) / 2, data.source)


def of_model(prediction: Prediction | None, most_out_of_range: int) -> Component:
    """What a model says; one that is too old, or was asked about what it does not know, says nothing."""
    if prediction is None:
        return Component(trouble=NO_ANSWER)
    if prediction.is_expired:
        return Component(source=prediction.model, trouble="expired")
    if prediction.out_of_range > most_out_of_range:
        trouble = f"{prediction.out_of_range} features outside what it was trained on"
        return Component(source=prediction.model, trouble=trouble)
    return Component(prediction.probability, prediction.model)


def beside(component: Component, prediction: Prediction | None, primary: Prediction | None) -> Component:
    """`component` of another model than the primary: it counts only if it is about the same event."""
    if component.probability is None or prediction is None or primary is None:
        return component
    if _is_same_event(prediction, primary):
        return component
    asked = f"+{prediction.take_profit:.2%}/-{prediction.stop_loss:.2%} in {prediction.horizon_bars} bars"
    return Component(source=prediction.model, trouble=f"another label than {primary.model}: {asked}")


def answer_of(predictions: Sequence[Prediction], kind: str) -> Prediction | None:
    """The prediction of one kind of model."""
    return next((prediction for prediction in predictions if prediction.kind == kind), None)


def in_words(components: dict[str, Component], missing: Mapping[str, str]) -> str:
    """For the log: who said what, and why somebody did not, if he was asked.

    Parameters
    ----------
    components
        By name.
    missing
        Why a model that was asked gave no answer, by name.
    """
    said = []
    for name, component in components.items():
        if component.trouble == NO_ANSWER:
            if name in missing:
                said.append(f"{name}: {missing[name]}")
        elif component.trouble == NONE_YET:
            continue
        elif component.probability is None:
            said.append(f"{name}: {component.trouble}")
        else:
            said.append(f"{name} {component.probability:.3f} ({component.source})")
    return "; ".join(said)


def _is_same_event(one: Prediction, other: Prediction) -> bool:
    return (
        (one.event, one.horizon_bars) == (other.event, other.horizon_bars)
        and isclose(one.take_profit, other.take_profit, rel_tol=_NEAR)
        and isclose(one.stop_loss, other.stop_loss, rel_tol=_NEAR)
    )
