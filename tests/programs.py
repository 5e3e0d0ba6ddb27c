"""Programs that were installed beside the Python that runs the tests."""

from __future__ import annotations

import sys
from pathlib import Path

LEVIBOTCTL = str(Path(sys.executable).with_name("levibotctl"))
