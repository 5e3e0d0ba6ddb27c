"""Whether the extra `tft` is installed; imports nothing of it."""

from __future__ import annotations

import importlib.util

ABSENT = "TFT is absent: install levibot[tft] (`make install-tft-cpu`, or `make install-tft` with CUDA)"


def absence() -> str:
    """Why no network can be served here: the extra is not installed. Empty if it is."""
    try:
        found = importlib.util.find_spec("onnxruntime")
    except ValueError:  # it is in `sys.modules`, as something that is no module
        found = None
    return "" if found else ABSENT
