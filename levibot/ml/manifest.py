"""What is known of a stored model: how it was made, from what, how good it is, and where it may be used."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from levibot.bus.messages import EventKind, ModelKind
from levibot.durable import read_document
from levibot.errors import CorruptStoreError, DataStoreError, ModelError
from levibot.ml.scored import Count, Fraction, Record, Scores

MANIFEST = "manifest.json"
MODEL = "model.txt"
SCHEMA = 3  # 3: what untouched rows returned
AGAIN = "train again with `levibotctl train`"
FURTHEST = 0.5  # distance of a barrier, as a fraction of the price
VOLATILITY = "volatility_60"  # the feature that a label in sigmas is made from

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
_Above = Annotated[float, Meta(gt=0)]
_Positive = Annotated[int, Meta(gt=0)]


class Label(Record, frozen=True, kw_only=True):
    """The event whose probability every component of an ensemble gives.

    ``triple_barrier``: the price rises by `take_profit` before it falls by `stop_loss`, within the horizon.
    ``fixed_horizon``: the price is higher at the end of the horizon; the distances are those of the protection.

    Parameters
    ----------
    take_profit, stop_loss
        Distances from the close of the bar that is judged, in `unit`.
    horizon_bars
        Bars within which that must happen.
    unit
        ``fraction`` of the price, or ``sigma``: the volatility of the judged bar over the whole horizon.
    least
        Of ``sigma``: no distance is nearer than this fraction of the price, or costs would eat what is won.
    """

    kind: EventKind = "triple_barrier"
    take_profit: _Above
    stop_loss: _Above
    horizon_bars: _Positive
    unit: Literal["fraction", "sigma"] = "fraction"
    least: Fraction = 0.0

    def __post_init__(self) -> None:
        if self.unit == "fraction" and not max(self.take_profit, self.stop_loss) < 1:
            raise ValueError("expected distances below 1, as fractions of the price")
        if self.unit == "sigma" and not 0 < self.least <= FURTHEST:
            raise ValueError(f"expected a least distance above 0 and up to {FURTHEST}, as a fraction of the price")

    def distances(self, volatility: float) -> tuple[float, float]:
        """Distances of the upper and the lower barrier as fractions of the price.

        Training and serving both take them from here: a bet is protected by the barriers that the label has.

        Parameters
        ----------
        volatility
            Of a one-minute log return at the judged bar: its feature `VOLATILITY`. Not needed for ``fraction``.
        """
        if self.unit == "fraction":
            return self.take_profit, self.stop_loss
        sigma = volatility * math.sqrt(self.horizon_bars)
        return self._bounded(self.take_profit * sigma), self._bounded(self.stop_loss * sigma)

    def _bounded(self, distance: float) -> float:
        return min(max(distance, self.least), FURTHEST)


class Part(Record, frozen=True, kw_only=True):
    """One of the spans of time that the rows were divided into.

    Parameters
    ----------
    from_ms, until_ms
        Opening time of the first bar that was judged, and the end of the last label's interval.
    from_utc, until_utc
        The same for people.
    rows
        Bars with a label, of all symbols.
    positives
        Those whose label is 1, as a fraction.
    judged
        Bars with features and a whole horizon after them: `rows`, and those whose price did not move far enough.
    concurrency
        Labels of a symbol that look at the same bar, on average.
    uniqueness
        Average over the labels of 1/concurrency within what they look at; times `rows`, it is about how many
        independent labels there are (López de Prado 2018, chapter 4). Both end at the first touch.
    untouched_return
        Mean gross return, until the horizon, of a bet on a rise on those that are judged and have no label; a bet
        on a fall has its negative. None: there are none, or an earlier version did not measure it.
    """

    from_ms: int
    until_ms: int
    from_utc: str
    until_utc: str
    rows: _Positive
    positives: Fraction
    judged: _Positive
    concurrency: Annotated[float, Meta(ge=1)]
    uniqueness: Fraction
    untouched_return: Annotated[float, Meta(gt=-1)] | None = None

    def __post_init__(self) -> None:
        if self.judged < self.rows:
            raise ValueError(f"expected {self.rows} judged bars or more, as many have a label")
        if self.untouched_return is not None and not math.isfinite(self.untouched_return):
            raise ValueError("expected a finite return of what touches nothing")

    @property
    def touched(self) -> float:
        """Share of the judged bars that have a label: of a triple barrier, whose price came to one."""
        return self.rows / self.judged


class Calibration(Record, frozen=True, kw_only=True):
    """From a model's raw probability to one that comes true as often as it says.

    Parameters
    ----------
    kind
        ``none``: as it is. ``platt``: 1/(1 + exp(−(slope·logit(p) + intercept))) (Platt 1999). ``isotonic``:
        straight lines between `points`, level outside of them.
    slope, intercept
        Of ``platt``.
    points
        Of ``isotonic``: raw and calibrated probability, both rising.
    """

    kind: Literal["none", "platt", "isotonic"] = "none"
    slope: float = 1.0
    intercept: float = 0.0
    points: tuple[tuple[Fraction, Fraction], ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError("expected a finite slope and intercept")
        if (self.kind == "isotonic") is not (len(self.points) > 1):
            raise ValueError("expected two points or more of an isotonic calibration, and none of another")
        if any(b[0] <= a[0] or b[1] < a[1] for a, b in pairwise(self.points)):
            raise ValueError("expected points that rise")


class ModelFile(Record, frozen=True, kw_only=True):
    """One file of a version.

    Parameters
    ----------
    name
        Within the folder of the version.
    symbol
        The only one that it answers for; empty: all.
    sha256, size_bytes
        Of its content.
    trees
        Of LightGBM; 0: it has none.
    calibration
        Of what it answers.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    symbol: str = ""
    sha256: _Digest
    size_bytes: _Positive
    trees: Count = 0
    calibration: Calibration = Calibration()


class Manifest(Record, frozen=True, kw_only=True):
    """Everything that is stored beside a model.

    Parameters
    ----------
    kind
        Which lane of the pool serves it, and which component of the ensemble it is.
    name, version
        Together they are unique; the version is given by the store.
    exchange
        Whose market it was trained on, and the only one that it may serve.
    features, feature_versions
        Names of the features that it is given, in order, and the version of the formula of each.
    ranges
        Least and greatest value of each feature that the model has learned from.
    symbols
        Symbols of the training rows.
    context
        Leading market that its features are of; empty: of none.
    label
        What the probability is of.
    data_sha256
        Of all rows and labels that it was made from.
    train, tuning, calibration, test
        The spans: fitted on; stopped early and tuned on; calibrated on (None: not calibrated); judged on.
    scores
        On the test span.
    leaks
        Signs that it knows the future, none of which may be there if it is to serve; None: it was not checked.
    seed, params
        Of the library that made it.
    libraries, levibot, commit
        Versions that made it; `commit` of git where there is one.
    created_ms, created_utc
        When.
    expires_ms
        Event time after which it is too old to open a position; 0: never.
    files
        What else lies beside it.
    """

    schema: int = SCHEMA
    kind: ModelKind = "lightgbm"
    name: _Name
    version: str
    exchange: Annotated[str, Meta(pattern=r"^[a-z0-9]+$")]
    features: tuple[str, ...]
    feature_versions: tuple[Count, ...]
    ranges: tuple[tuple[float, float], ...]
    symbols: Annotated[tuple[str, ...], Meta(min_length=1)]
    context: str = ""
    label: Label
    data_sha256: _Digest
    train: Part
    tuning: Part
    calibration: Part | None = None
    test: Part
    scores: Scores
    leaks: tuple[str, ...] | None = None
    seed: int
    params: dict[str, str | int | float | bool]
    libraries: dict[str, str]
    levibot: str
    commit: str | None
    created_ms: int
    created_utc: str
    expires_ms: Count
    files: tuple[ModelFile, ...]

    @property
    def experience(self) -> Part:
        """The span that tells how often there is a label at all: later than what was fitted on, before the test.

        It is that of the calibration; of a model that was not calibrated, that of the tuning.
        """
        return self.calibration or self.tuning

    @property
    def reference(self) -> str:
        """Name and version, as answers carry it and commands take it."""
        return f"{self.name}/{self.version}"

    @property
    def digests(self) -> tuple[str, ...]:
        """What tells one training from another: its trees; of another kind of model the version."""
        return tuple(file.sha256 for file in self.files if file.trees) or (self.version,)

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.ranges) == len(self.feature_versions) == len(set(self.features)):
            raise ValueError("expected one range and one version for each feature, and no feature twice")
        if len({file.name for file in self.files}) < len(self.files):
            raise ValueError("expected no file twice")
        if self.label.unit == "sigma" and VOLATILITY not in self.features:
            raise ValueError(f"expected the feature {VOLATILITY}, which a label in sigmas is made from")
        if not all(math.isfinite(low) and low <= high < math.inf for low, high in self.ranges):
            raise ValueError("expected finite ranges, each with the lower end first")


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a stored model.

    Parameters
    ----------
    folder
        Of one version.

    Raises
    ------
    ModelError
        If it is missing, damaged, incomplete or written by a newer LeviBot.
    """
    path = folder / MANIFEST
    try:
        document = read_document(path, SCHEMA)
    except DataStoreError as error:
        joint = ";" if isinstance(error, CorruptStoreError) else ", or"  # the others name a remedy of their own
        raise ModelError(error.path, f"{error.reason}{joint} {AGAIN}") from error
    if document is None:
        raise ModelError(path, f"is missing; expected the manifest of a model: {AGAIN}")
    return parse_manifest(document, path)


def read_model(folder: Path, file: ModelFile) -> bytes:
    """Content of a file of a version, which is what its manifest describes.

    Raises
    ------
    ModelError
        If it is missing, or has another size or digest.
    """
    path = folder / file.name
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size == file.size_bytes else b""
    except OSError as error:
        raise ModelError(path, f"cannot be read ({error.strerror}); {AGAIN}") from error
    if size != file.size_bytes:
        raise ModelError(path, f"has {size} bytes, expected {file.size_bytes}; {AGAIN}")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ModelError(path, f"has another digest than its manifest says; {AGAIN}")
    return content


def parse_manifest(document: dict[str, Any], path: Path) -> Manifest:
    """Manifest from the content of `path`.

    Raises
    ------
    ModelError
        If it is no manifest; the text names the field.
    """
    try:
        return msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        reason = f"is no manifest of a model: {error}; {AGAIN}"
        raise ModelError(path, reason) from error


def to_document(manifest: Manifest) -> dict[str, Any]:
    """Content of the file, for `levibot.durable.write_document`."""
    document: dict[str, Any] = msgspec.to_builtins(manifest)
    return document


def is_expired(manifest: Manifest, now_ms: int) -> bool:
    """Whether a model is too old to open a position."""
    return 0 < manifest.expires_ms <= now_ms


def utc(ms: int) -> str:
    """A time for people: ISO 8601, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
