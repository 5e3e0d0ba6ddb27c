"""Questions to a model and its answers (DEALER of an engine → ROUTER of each pool process)."""

from __future__ import annotations

from typing import Literal

from levibot.bus.messages.base import Message

ModelKind = Literal["lightgbm", "tft"]
EventKind = Literal["triple_barrier", "fixed_horizon"]

_BAR_MS = 60_000


class PredictRequest(Message, frozen=True, tag=True):
    """An engine asks for the probability of the event that the model was trained on."""

    request_id: int
    symbol: str
    bar_ms: int  # opening time of the bar whose close the features describe
    feature_set: str  # identity of the features, by name, order and version
    features: bytes  # float64, little-endian, in the order of the feature set, oldest step first; NaN: missing
    deadline_ns: int  # CLOCK_BOOTTIME; an answer after it is of no use
    steps: int = 1  # bars that the features are of, the newest `bar_ms`: more than one for a sequence model


class Prediction(Message, frozen=True, tag=True):
    """Probability that price rises by `take_profit` before it falls by `stop_loss`."""

    request_id: int
    symbol: str
    bar_ms: int
    probability: float  # 0..1
    model: str  # name/version
    take_profit: float  # distances that the label was made with, as fractions of the price
    stop_loss: float
    horizon_bars: int
    expires_ms: int  # event time after which the model is too old to open a position; 0: never
    touched: float  # share of bars, 0..1, after which the price came to one of the two within the horizon
    untouched_return: float  # mean return of the price until the horizon after the others, as a fraction
    out_of_range: int = 0  # features outside the range that the model was trained on
    kind: ModelKind = "lightgbm"  # of the model: which component of an ensemble it is
    event: EventKind = "triple_barrier"  # kind of its label

    @property
    def is_expired(self) -> bool:
        """Whether the model was too old at the bar's close for a position to be opened on its answer."""
        return 0 < self.expires_ms <= self.bar_ms + _BAR_MS


class Component(Message, frozen=True):
    """What one component of an ensemble said of the newest bar that was judged."""

    probability: float | None = None  # of a rise; None: it said nothing that counts
    source: str = ""  # name/version of the model, or who gave the value
    trouble: str = ""  # why it does not count; empty if it does
    configured: bool = True  # False: by the configuration there is none, and nobody expects it


class PredictionRefused(Message, frozen=True, tag=True):
    request_id: int
    symbol: str
    reason: str


InferenceReply = Prediction | PredictionRefused
