"""Whether a new version, the challenger, may take the place of the one that serves, the champion: the gate.

Figures in, objections out: nothing is loaded or stored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from levibot.ml.history import Floats
from levibot.ml.manifest import Label, Manifest, is_expired, utc
from levibot.ml.scored import GAIN_ERRORS, LEAST_BLOCKS
from levibot.ml.scores import losses, standard_error
from levibot.ml.splits import question

_LEAST_ROWS = 200
_BINS = 10


class Limits(NamedTuple):
    """What a challenger has to keep to."""

    margin: float  # least gain in log loss over the champion; and more than chance in any case
    calibration_error: float  # greatest that is not chance


class Reliability(msgspec.Struct, frozen=True):
    """Whether probabilities come true as often as they say.

    Parameters
    ----------
    error
        Expected calibration error: mean distance between the probability of a tenth of the rows, ordered by it,
        and the share of them whose label is 1 (Naeini, Cooper and Hauskrecht 2015; bins of equal size).
    excess
        What is left of it when each tenth is allowed two standard errors: zero, if all of it may be chance.
    """

    error: float
    excess: float


class Paired(msgspec.Struct, frozen=True):
    """Two models on the same rows, which neither was fitted, tuned or calibrated on.

    Parameters
    ----------
    champion, challenger
        Name and version.
    from_utc, until_utc
        First and last bar judged.
    rows, blocks
        How many, and in how many stretches of time whose labels hardly overlap.
    champion_log_loss, log_loss
        Of the champion, and of the challenger.
    gain
        By how much the challenger's is less.
    gain_error
        Standard error of that, clustered by stretches.
    """

    champion: str
    challenger: str
    from_utc: str
    until_utc: str
    rows: int
    blocks: int
    champion_log_loss: float
    log_loss: float
    gain: float
    gain_error: float

    def objection(self, margin: float, errors: float = GAIN_ERRORS) -> str:
        """Why it does not show that the challenger is better by more than `margin`; empty if it does.

        Parameters
        ----------
        margin
            Least gain.
        errors
            Standard errors that the gain must exceed: see `errors_needed`.
        """
        if self.rows < _LEAST_ROWS or self.blocks < LEAST_BLOCKS:
            return (
                f"{self.rows} rows in {self.blocks} stretches, from {self.from_utc} on, are too few to compare it "
                f"with {self.champion}: {_LEAST_ROWS} rows and {LEAST_BLOCKS} stretches needed"
            )
        words = f"on {self.rows:,} rows its log loss is {self.log_loss:.4f}, that of {self.champion} "
        words += f"{self.champion_log_loss:.4f}"
        if self.gain <= 0:
            return f"{words}: it is no better"
        if self.gain <= errors * self.gain_error:
            return f"{words}: the gain, {self.gain:.4f}, is no more than chance ({errors * self.gain_error:.4f})"
        if self.gain <= margin:
            return f"{words}: the gain, {self.gain:.4f}, is within training.promotion_margin = {margin:g}"
        return ""


def errors_needed(looks: int) -> float:
    """Standard errors that a gain must exceed where it is the best of so many (Bonferroni).

    Who trains again and again, and judges each on the same bars, finds one that does well there by chance. So
    the chance that any of `looks` passes without being better is kept to that of one at `GAIN_ERRORS`.
    """
    normal = NormalDist()
    return -normal.inv_cdf(normal.cdf(-GAIN_ERRORS) / looks)


def reliability(labels: Floats, probabilities: Floats, blocks: NDArray[np.int64]) -> Reliability:
    """How well probabilities are calibrated.

    Parameters
    ----------
    labels
        0 or 1. Shape (rows,), one row or more.
    probabilities, blocks
        As of `levibot.ml.scores.score`.
    """
    order = np.argsort(probabilities, kind="stable")
    error = excess = 0.0
    for places in np.array_split(order, min(_BINS, len(order))):
        misses = probabilities[places] - labels[places]
        distance = abs(float(misses.mean()))
        # A tenth that lies in one stretch of time is one witness: any distance may be chance.
        lone = len(np.unique(blocks[places])) < 2
        chance = 1.0 if lone else GAIN_ERRORS * standard_error(misses, blocks[places])
        share = len(places) / len(order)
        error += share * distance
        excess += share * max(0.0, distance - chance)
    return Reliability(error, excess)


def pair(
    names: tuple[str, str],
    open_ms: NDArray[np.int64],
    labels: Floats,
    probabilities: tuple[Floats, Floats],
    blocks: NDArray[np.int64],
) -> Paired:
    """Compare two models' probabilities on the same rows.

    Parameters
    ----------
    names
        Champion and challenger.
    open_ms
        Of the bars that are judged, in order of time; one or more.
    labels, blocks
        As of `levibot.ml.scores.score`.
    probabilities
        The champion's and the challenger's.
    """
    old, new = (losses(labels, given) for given in probabilities)
    gains = old - new
    return Paired(
        *names,
        from_utc=utc(int(open_ms[0])),
        until_utc=utc(int(open_ms[-1])),
        rows=len(labels),
        blocks=len(np.unique(blocks)),
        champion_log_loss=float(old.mean()),
        log_loss=float(new.mean()),
        gain=float(gains.mean()),
        gain_error=standard_error(gains, blocks),
    )


def own_objections(
    challenger: Manifest,
    measured: Reliability | None,
    limits: Limits,
    now_ms: int | None,
    errors: float = GAIN_ERRORS,
) -> list[str]:
    """Why a challenger may not serve, whatever serves now.

    Parameters
    ----------
    challenger
        As stored.
    measured
        On its test span; None: unknown, as its rows are not at hand.
    limits
        Of the configuration.
    now_ms
        Of the market that it is to serve; None: not known, as it is not the wall clock's.
    errors
        As of `Paired.objection`.
    """
    found = challenger.scores.missed_by(errors)
    if challenger.leaks is None:
        found.append("it was not checked for leaks")
    found += [f"leak: {alarm}" for alarm in challenger.leaks or ()]
    if measured is None:
        found.append("whether it is calibrated is not known")
    elif measured.excess > limits.calibration_error:
        found.append(
            f"calibration: {measured.error:.1%} off on average, {measured.excess:.1%} of it beyond chance, "
            f"at most {limits.calibration_error:.1%} allowed (training.calibration_error)"
        )
    if now_ms is not None and is_expired(challenger, now_ms):
        found.append(f"it expired at {utc(challenger.expires_ms)}")
    return found


def label_objection(challenger: Label, champion: Label) -> str:
    """Why probabilities of two labels cannot be compared; empty if they are the same."""
    if challenger == champion:
        return ""
    return f"not comparable: its label is {question(challenger)}, the champion's {question(champion)}"


def fitted_until_ms(manifest: Manifest) -> int:
    """End of what a model was fitted, tuned or calibrated on; the test span is none of that."""
    spans = (manifest.train, manifest.tuning, manifest.calibration)
    return max(span.until_ms for span in spans if span is not None)


def summary(objections: Sequence[str], paired: Paired | None, looks: int = 1) -> str:
    """What a change's history says of it; `looks` as of `errors_needed`."""
    if objections:
        return f"in spite of: {'; '.join(objections)}"
    best_of = "" if looks == 1 else f"; one of {looks} that were judged on bars of its test span"
    if paired is None:
        return f"better than every constant; there was no champion to beat{best_of}"
    return (
        f"log loss {paired.log_loss:.4f}, {paired.gain:.4f} ± {paired.gain_error:.4f} better than "
        f"{paired.champion} on {paired.rows:,} rows{best_of}"
    )
