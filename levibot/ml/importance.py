"""Which features a model lives on: what their splits gained, and what they move its answers by."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from levibot.ml.boosting import Fitted
from levibot.ml.history import Floats
from levibot.ml.rows import Rows

_MOST_ROWS = 2000  # that SHAP values are computed for
_SHOWN = 15  # features in the picture
_JITTER = 0.35  # of the distance between two of its lines


class Importance(NamedTuple):
    """Of features, in the order of a model's."""

    names: tuple[str, ...]
    gain: Floats  # share of the loss that splits on each have saved; sums to 1
    shap: Floats  # mean |SHAP value|: by how much each moves the log-odds of an answer
    values: Floats  # SHAP values of some rows of the test span, shape (rows, features)
    features: Floats  # of the same rows

    def order(self) -> list[int]:
        """Places of the features, that which moves most first."""
        places: list[int] = np.argsort(-self.shap, kind="stable").tolist()
        return places

    def document(self) -> bytes:
        """Content of ``importance.json``."""
        found = [
            {"feature": self.names[place], "gain": float(self.gain[place]), "shap": float(self.shap[place])}
            for place in self.order()
        ]
        return msgspec.json.format(msgspec.json.encode({"rows": len(self.values), "features": found}))


def measure(models: Sequence[Fitted], rows: Rows, symbols: Sequence[str], names: tuple[str, ...]) -> Importance:
    """Importance over rows, each by the trees of its symbol.

    SHAP values are those of LightGBM's own TreeSHAP (Lundberg and others 2020), before calibration.

    Parameters
    ----------
    models
        One of all symbols, or one of each.
    rows
        Of the test span; some of them are looked at.
    symbols
        By the numbers in the rows.
    names
        Of the features.
    """
    some = rows.take(np.linspace(0, len(rows.labels) - 1, min(_MOST_ROWS, len(rows.labels))).astype(np.intp))
    values = np.zeros_like(some.features)
    gain = np.zeros(len(names))
    for fitted in models:
        chosen = fitted.answers_for(some, symbols)
        if chosen.any():
            values[chosen] = fitted.contributions(some.features[chosen])
        found = fitted.booster.feature_importance("gain", iteration=fitted.booster.best_iteration)
        gain += found / max(found.sum(), 1e-300) / len(models)
    return Importance(names, gain, np.abs(values).mean(axis=0), values, some.features)


def picture(found: Importance) -> bytes | None:
    """A beeswarm of the SHAP values as PNG; None without matplotlib, which is of the extra ``train``."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    shown = found.order()[:_SHOWN][::-1]
    figure = Figure(figsize=(8, 0.35 * len(shown) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw = np.random.default_rng(0)
    dots = None
    for line, place in enumerate(shown):
        ranks = np.argsort(np.argsort(found.features[:, place], kind="stable")) / max(1, len(found.features) - 1)
        heights = line + draw.uniform(-_JITTER, _JITTER, len(ranks))
        dots = axes.scatter(found.values[:, place], heights, c=ranks, cmap="coolwarm", s=3, rasterized=True)
    axes.axvline(0, color="grey", linewidth=0.5)
    axes.set_yticks(range(len(shown)), [found.names[place] for place in shown])
    axes.set_xlabel("SHAP value: moves the log-odds of a rise by")
    if dots is not None:
        bar = figure.colorbar(dots, ax=axes, ticks=[0, 1], aspect=40)
        bar.ax.set_yticklabels(["low", "high"])
        bar.set_label("value of the feature")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()
