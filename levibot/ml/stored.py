"""What a stored model of every kind has when it is loaded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levibot.ml.features import FEATURES
from levibot.ml.manifest import Manifest


class StoredModel:
    """The manifest of a version, and what it says of features.

    Parameters
    ----------
    manifest
        Of the version.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        # places of its features among all that an engine sends
        self.columns: NDArray[np.intp] = np.array([FEATURES.index(name) for name in manifest.features], np.intp)
        self._low, self._high = np.array(manifest.ranges, dtype=np.float64).T

    @property
    def width(self) -> int:
        """Features that it is given."""
        return len(self._low)

    def outside(self, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each number lies outside what the model has learned from; one column for each feature."""
        found: NDArray[np.bool_] = (rows < self._low) | (rows > self._high)
        return found
