"""How good a model was on its test span: the part of its manifest that decides whether it may serve."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

GAIN_ERRORS = 2.0  # standard errors that a gain must exceed, or it is chance
LEAST_BLOCKS = 10  # of fewer, a standard error says nothing

Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of a manifest."""


class Constant(Record, frozen=True, kw_only=True):
    """One probability for every row, which a model must do better than.

    Parameters
    ----------
    probability
        Given to every row.
    log_loss
        That of this constant.
    gain
        By how much the model's is less.
    gain_error
        Standard error of that.
    """

    probability: Fraction
    log_loss: float
    gain: float
    gain_error: float


class Scores(Record, frozen=True, kw_only=True):
    """Quality on the test span, which nothing was fitted or chosen on.

    Parameters
    ----------
    auc
        Area under the ROC curve; .5 is guessing.
    log_loss, brier
        Mean −ln of the probability given to what happened; mean squared error of the probability.
    base_log_loss, base_brier
        The same of a constant: the share of positives in the training span.
    even, hindsight
        The constant .5, and the best that there is: the share of positives in the test span itself. None in
        manifests of earlier versions.
    blocks
        Stretches of the test span whose labels hardly overlap: what the standard errors are made of.
    """

    auc: Fraction
    log_loss: float
    brier: float
    base_log_loss: float
    base_brier: float
    even: Constant | None = None
    hindsight: Constant | None = None
    blocks: Count = 0

    @property
    def missed(self) -> list[str]:
        """What it would have to show, and does not, before it may serve; empty if it has learned something."""
        return self.missed_by(GAIN_ERRORS)

    def missed_by(self, errors: float) -> list[str]:
        """The same where a gain must exceed so many standard errors.

        Markets drift: to beat the training span's base rate says nothing where the test span has another.
        """
        if self.even is None or self.hindsight is None:
            return ["it was judged by an earlier version, against the training span's base rate alone"]
        missed = []
        if self.auc <= 0.5:
            missed.append(f"AUC {self.auc:.3f}: it ranks rows no better than guessing")
        if self.blocks < LEAST_BLOCKS:
            missed.append(f"the test span is too short to tell: {self.blocks} stretches, {LEAST_BLOCKS} needed")
        for name, constant in (("a constant 0.5", self.even), ("the test span's own base rate", self.hindsight)):
            if constant.gain <= 0:
                missed.append(f"log loss {self.log_loss:.4f}, {name} has {constant.log_loss:.4f}")
            elif constant.gain <= (chance := errors * constant.gain_error):
                missed.append(f"its gain on {name}, {constant.gain:.4f}, is no more than chance ({chance:.4f})")
        return missed
