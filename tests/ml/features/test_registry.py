"""The registry is the one list of features: unique names, a window and a meaning each, an identity of all."""

from __future__ import annotations

import hashlib

from levibot.config_ml import TrainingConfig
from levibot.ml.features import (
    FEATURE_SET,
    FEATURE_VERSIONS,
    FEATURES,
    LOOKBACK,
    OPTIONAL_FEATURES,
    REGISTRY,
    WINDOW,
    FeatureWindow,
)
from levibot.ml.preparation import Plan
from tests.ml.features.streams import play, stream


def test_each_feature_has_a_name_of_its_own_a_window_and_a_meaning() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == len(REGISTRY) == len(FEATURE_VERSIONS)
    assert WINDOW == max(feature.window for feature in REGISTRY) == 61
    for feature in REGISTRY:
        assert feature.meaning.endswith(".")
        assert feature.meaning[0].isupper()
        assert (feature.window == 0) is (feature.group == "altdata"), feature.name
        assert (feature.name in OPTIONAL_FEATURES) is (feature.group != "bars")
    assert {feature.group for feature in REGISTRY} == {"bars", "context", "book", "flow", "altdata"}


def test_the_embargo_is_as_long_as_features_look_back_the_context_included() -> None:
    assert LOOKBACK == 61, "60 bars before the judged one; the context a minute further"
    assert TrainingConfig().embargo == Plan("a", "b", 30, costs=0.0).embargo_bars == LOOKBACK


def test_the_numbers_of_the_identity_have_not_changed() -> None:
    """If this fails, a formula has changed: count up its version, so that no older model is asked."""
    (row,) = play(FeatureWindow(), stream(WINDOW)).values()
    digest = hashlib.sha256(" ".join(f"{value:.9e}" for value in row).encode()).hexdigest()[:12]
    assert (FEATURE_SET, digest) == ("features-1a7955f649b1", "972e6c5dd57a")
