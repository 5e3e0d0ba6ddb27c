"""Training: candles in, a judged Temporal Fusion Transformer out, on the rows and labels that LightGBM has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from levibot.errors import TrainingError
from levibot.ml.boosting import default_params, fixed_params
from levibot.ml.features import FEATURES, OPTIONAL_FEATURES
from levibot.ml.history import Floats
from levibot.ml.leaks import find_leaks
from levibot.ml.manifest import VOLATILITY, Label
from levibot.ml.material import Material, Progress
from levibot.ml.preparation import Plan, only, prepare
from levibot.ml.provenance import data_digest
from levibot.ml.rows import Rows
from levibot.ml.splits import Split, check
from levibot.ml.tft.fit import Effort, Examples, fit_link, fit_network
from levibot.ml.tft.forecast import FORECAST, HORIZON, STEPS, Forecast, Scaling
from levibot.ml.tft.model import NETWORK, Network, open_session
from levibot.ml.tft.network import export
from levibot.ml.tft.sequences import Sequences, with_sequences
from levibot.ml.trained import Made, Trained, describe_training, new_file

_LIBRARIES = ("torch", "pytorch-forecasting", "lightning", "onnxruntime", "numpy")
_WINDOWS = 30_000  # of all spans together, unless asked for more or fewer: minutes on a CPU
_CHUNK = 1024  # sequences that are judged in one go

# A network knows no missing number: what an optional group gives is left to LightGBM, which does.
GIVEN: tuple[str, ...] = tuple(name for name in FEATURES if name not in OPTIONAL_FEATURES)


@dataclass(frozen=True)
class TftPlan:
    """What is to be trained.

    Parameters
    ----------
    base
        Name, label, spans and seed, as of LightGBM.
    effort
        Size of the network, and how long it is fitted.
    stride
        Bars from one sequence to the next; None: as many as leave `_WINDOWS`.
    accelerator
        ``auto``: a GPU where there is one; ``cpu``.
    """

    base: Plan
    effort: Effort = field(default_factory=Effort)
    stride: int | None = None
    accelerator: str = "auto"


def train(material: Material, plan: TftPlan, progress: Progress) -> Trained:
    """Train, export and judge a network for all symbols together.

    Parameters
    ----------
    material
        What features and labels are made from.
    plan
        What is to be trained.
    progress
        Told how far it has come.

    Raises
    ------
    TrainingError
        If the data are too few, or all of one class; if the network diverged, or its export is another.
    MarketDataError
        If a candle is bad.
    """
    if plan.base.horizon_bars < HORIZON:
        raise TrainingError(f"the label looks {plan.base.horizon_bars} bars ahead, expected {HORIZON} or more")
    # So that no sequence reaches back to bars that labels of an earlier span look at.
    embargo_bars = plan.base.embargo_bars + STEPS - 1
    data = prepare(material, replace(plan.base, embargo_bars=embargo_bars), progress)
    sequences = Sequences(data.histories, [FEATURES.index(name) for name in GIVEN], GIVEN.index(VOLATILITY))
    stride = plan.stride or _stride(data.spans)
    spans = Split(*(sequences.thinned(rows, stride) for rows in data.spans))
    check(spans, data.label)
    labelled = Split(*(rows.labelled() for rows in spans))
    scaling = Scaling.of(sequences.features[sequences.ends(labelled.train)])
    scaled = scaling.apply(sequences.features)

    def examples(rows: Rows) -> Examples:
        return Examples(scaled, sequences.ends(rows), sequences.targets(rows))

    fitted = fit_network(
        examples(labelled.train),
        examples(labelled.tuning),
        GIVEN,
        plan.effort,
        seed=plan.base.seed,
        threads=plan.base.threads,
        accelerator=plan.accelerator,
        report=lambda done, steps: progress("fitting the network", done, steps),
    )
    progress("exporting", 0, None)
    content = export(fitted, len(GIVEN))
    network = Network(open_session(content), scaling, GIVEN.index(VOLATILITY))

    def numbers(stage: str, rows: Rows) -> Floats:
        return _numbers(network, sequences, rows, data.label, lambda done, of: progress(stage, done, of))

    progress("looking for leaks", 0, None)
    params = {**default_params(len(labelled.train.labels)), **fixed_params(plan.base.seed, plan.base.threads)}
    planted = plan.base.exchange == "simulated"
    leaks = find_leaks(data.histories, only(data.spans, GIVEN), GIVEN, params, planted=planted)
    link = fit_link(numbers("calibrating", labelled.calibration), labelled.calibration.labels)
    probabilities = link.probability(numbers("judging", labelled.test))
    contents = {NETWORK: content, FORECAST: Forecast(scaling=scaling, link=link).encode()}
    made = Made(
        kind="tft",
        features=GIVEN,
        spans=spans,
        data_sha256=data_digest(data.symbols, FEATURES, spans),
        contents=contents,
        files=tuple(new_file(name, whole) for name, whole in contents.items()),
        probabilities=probabilities,
        leaks=leaks,
        params={**asdict(plan.effort), "stride": stride, "steps": STEPS, "horizon": HORIZON},
        libraries=_LIBRARIES,
    )
    return describe_training(plan.base, data, made, with_sequences(data.histories, labelled.test))


def _stride(spans: Split) -> int:
    """Bars between two sequences, so that not many more than `_WINDOWS` are left."""
    return max(1, round(sum(len(rows.labels) for rows in spans) / _WINDOWS))


def _numbers(
    network: Network, sequences: Sequences, rows: Rows, label: Label, report: Callable[[int, int], None]
) -> Floats:
    """What the network says of each row, a few at a time."""
    ends = sequences.ends(rows)
    parts = []
    for begin in range(0, len(ends), _CHUNK):
        report(begin, len(ends))
        parts.append(network.numbers(sequences.of(ends[begin : begin + _CHUNK]), label))
    return np.concatenate(parts)
