"""What a model sees of one symbol: numbers from its newest closed bars, the same in training and serving.

`window` computes them bar by bar, in engines; `vectorised` all at once, for training. `registry` names them.
Nothing here but `vectorised` and what only training uses imports numpy.
"""

from levibot.ml.features.registry import (
    FEATURE_SET,
    FEATURE_VERSIONS,
    FEATURES,
    LOOKBACK,
    MOST_SYNTHETIC,
    OPTIONAL_FEATURES,
    REGISTRY,
    WINDOW,
    Feature,
)
from levibot.ml.features.window import FeatureWindow

__all__ = [
    "FEATURES",
    "FEATURE_SET",
    "FEATURE_VERSIONS",
    "LOOKBACK",
    "MOST_SYNTHETIC",
    "OPTIONAL_FEATURES",
    "REGISTRY",
    "WINDOW",
    "Feature",
    "FeatureWindow",
]
