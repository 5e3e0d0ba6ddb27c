"""Whether the extra `tft` is installed; imports nothing of it."""

from __future__ import annotations

import importlib.util

from levibot.errors import TrainingError

_TRAINING = ("torch", "lightning", "pytorch_forecasting", "onnxruntime")
ABSENT = "TFT is absent: install levibot[tft] (`make install-tft-cpu`, or `make install-tft` with CUDA)"


def absence() -> str:
    """Why no network can be served here: the extra is not installed. Empty if it is."""
    return "" if _is_there("onnxruntime") else ABSENT


def need_training() -> None:
    """Demand what a network is trained with.

    Raises
    ------
    TrainingError
        If the extra is not installed.
    """
    if not all(map(_is_there, _TRAINING)):
        raise TrainingError(ABSENT)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is in `sys.modules`, as something that is no module
        return False
