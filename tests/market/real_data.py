"""Where the recorded market data lie that some tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def real_data(*parts: str) -> Path:
    """A folder of recorded data; skips the test where it is missing."""
    folder = _DATA.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"needs the recorded market data in {folder}")
    return folder
