"""The kinds of model that the pool serves, each by processes of its own, so that none waits for a slower one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from levibot.bus.messages import ModelKind
from levibot.ml.model import load_model
from levibot.ml.service import Served
from levibot.ml.tft.extra import absence
from levibot.ml.tft.model import load_tft


@dataclass(frozen=True)
class Lane:
    """One kind of model.

    Parameters
    ----------
    training
        The command that makes a model.
    load
        Loads a version for an exchange; raises `ModelError`.
    absence
        Why no such model can be served here; empty if it can.
    """

    training: str
    load: Callable[[Path, str], Served]
    absence: Callable[[], str]


LANES: dict[ModelKind, Lane] = {
    "lightgbm": Lane("levibotctl train", load_model, lambda: ""),
    "tft": Lane("levibotctl train --kind tft", load_tft, absence),
}
