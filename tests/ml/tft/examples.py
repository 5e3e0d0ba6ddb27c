"""A small network, really trained, on a day of the simulated market; once for all tests of a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from levibot.config_market import FeedConfig
from levibot.ml import sources
from levibot.ml.history import Floats
from levibot.ml.store import ModelStore

if TYPE_CHECKING:
    from levibot.ml.trained import Trained

NAME = "tft-simulated"
REASON = "the extra is not installed; `make install-tft-cpu` brings it"


def need_extra() -> None:
    """Skip the module where PyTorch and its like are not installed."""
    for library in ("torch", "lightning", "pytorch_forecasting", "onnxruntime"):
        pytest.importorskip(library, reason=f"{library}: {REASON}")


@cache
def trained() -> Trained:
    """One epoch on some hundred sequences."""
    from levibot.ml.preparation import Plan
    from levibot.ml.tft.fit import Effort
    from levibot.ml.tft.train import TftPlan, train

    candles = sources.of_feed(FeedConfig(), ["BTC/USDT"], 2, None)
    base = Plan(NAME, "simulated", 10, 0.0, take_profit=0.001, stop_loss=0.001, embargo_bars=1)
    plan = TftPlan(base, Effort(epochs=1, batch=64), stride=1, accelerator="cpu")
    return train(candles, plan, lambda *_: None)


def stored_tft(folder: Path) -> Path:
    """Save that network below `folder`, promote it; the folder of its version."""
    store = ModelStore(folder)
    stored = store.save(*trained()[:2])
    store.promote(stored.name, stored.version)
    return folder / stored.name / stored.version


def sequences(count: int, features: int, *, seed: int = 1) -> Floats:
    """Sequences of small numbers, the volatility among them positive."""
    rows: Floats = np.abs(np.random.default_rng(seed).normal(scale=0.01, size=(count, 60, features)))
    return rows
