"""Scaling, and what a forecast says of the event; needs no extra."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from levibot.errors import ModelError
from levibot.ml.tft.forecast import HORIZON, QUANTILES, EventLink, Forecast, Scaling, read_forecast, tell


def test_scaling_goes_through_the_file_and_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(3, 2, size=(1000, 4))
    rows[:, 2] = 7.0
    scaling = Scaling.of(rows)
    scaled = scaling.apply(rows)
    assert scaled.dtype == np.float32
    assert scaled[:, [0, 1, 3]].mean() == pytest.approx(0, abs=1e-6)
    assert scaled[:, [0, 1, 3]].std() == pytest.approx(1, abs=1e-6)
    assert not scaled[:, 2].any(), "what never moves says nothing"
    forecast = Forecast(scaling=scaling, link=EventLink(weights=(1.0, 0.0, 0.0), intercept=0.5))
    again = read_forecast(tmp_path / "forecast.json", forecast.encode(), 4)
    assert again == forecast
    np.testing.assert_array_equal(again.scaling.apply(rows), scaled)


def test_what_lies_far_out_is_bounded() -> None:
    scaling = Scaling(center=(0.0,), scale=(0.001,))
    assert scaling.apply(np.array([[1e300], [-1e9]])).tolist() == [[8.0], [-8.0]]


@pytest.mark.parametrize("features", [3, 5])
def test_a_scaling_of_other_features_is_refused(tmp_path: Path, features: int) -> None:
    scaling = Scaling(center=(0.0,) * 4, scale=(1.0,) * 4)
    content = Forecast(scaling=scaling, link=EventLink(weights=(0.0, 0.0, 0.0), intercept=0.0)).encode()
    with pytest.raises(ModelError, match=f"scales 4 features, expected {features}; train again"):
        read_forecast(tmp_path / "forecast.json", content, features)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    scaling, link = b'{"center": [1e999], "scale": [1]}', b'{"weights": [0, 0, 0], "intercept": 0}'
    content = b'{"schema": 1, "scaling": %b, "link": %b}' % (scaling, link)
    with pytest.raises(ModelError, match="train again"):
        read_forecast(tmp_path / "forecast.json", content, 1)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"weights": [0, 0], "intercept": 0}', type=EventLink)


def spread(middle: float, below: float, above: float) -> np.ndarray:
    """A forecast whose last step has this median, and these distances to its 10 % and its 90 % quantile."""
    quantiles = np.zeros((1, HORIZON, len(QUANTILES)))
    quantiles[0, -1] = [
        middle - 2 * below,
        middle - below,
        middle,
        middle,
        middle,
        middle + above,
        middle + 2 * above,
    ]
    return quantiles


def told(
    middle: float, below: float, above: float, *, volatility: float = 0.001, distance: float = 0.01
) -> list[float]:
    numbers: list[float] = tell(spread(middle, below, above), np.array([volatility]), np.array([distance]))[
        0
    ].tolist()
    return numbers


def test_a_forecast_tells_drift_lean_and_reach() -> None:
    assert told(0.0, 1.0, 1.0) == [0.0, 0.0, 0.0]
    drift, lean, reach = told(0.5, 1.0, 1.0)
    assert (drift, lean) == (0.25, 0.0)
    assert reach == pytest.approx(0.5 * 0.001 * 5**0.5 / 0.01)
    assert told(0.5, 1.0, 1.0, distance=0.02)[2] == pytest.approx(reach / 2)
    assert told(0.0, 1.0, 3.0)[1] == pytest.approx(0.5)
    assert told(0.0, 3.0, 1.0)[1] == pytest.approx(-0.5)


def test_a_forecast_whose_quantiles_cross_gives_numbers_all_the_same() -> None:
    assert all(np.isfinite(told(0.1, -1.0, -1.0)))
    link = EventLink(weights=(1e6, 0.0, 0.0), intercept=0.0)
    assert 0 < link.probability(np.array([[1e9, 0.0, 0.0]]))[0] < 1 + 1e-9
