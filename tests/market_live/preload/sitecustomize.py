"""Gives every process of a daemon under test a fast clock, before anything else: see `fast_clock.environment`."""

from __future__ import annotations

import os

from tests.market_live.fast_clock import VARIABLE, Pace, quicken

born_ns, origin_ms, speed = os.environ[VARIABLE].split()
quicken(Pace(int(born_ns), int(origin_ms), float(speed)))
